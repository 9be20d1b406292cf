# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Autoscaling on a virtual clock: the HorizontalPodAutoscaler's algorithm, and the replicas under a load."""

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Capacity: the highest request rate at which one replica keeps its thresholds."""

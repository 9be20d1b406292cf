# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The timeline: the replicas, pods and events of a scaled model during a campaign."""

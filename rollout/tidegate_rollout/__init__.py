# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts: whether a release serves the bundles and the replicas that its chart specifies."""

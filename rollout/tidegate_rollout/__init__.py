# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Releases on a cluster: whether what a chart asked for is what now serves."""

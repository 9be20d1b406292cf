# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``make quickstart``: from a checkout to the first response of a model that a cluster trained and serves.

The cluster is one of kind, or the test cluster of :mod:`tools.cluster` on a machine without kind.
"""

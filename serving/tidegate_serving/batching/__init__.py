# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Batching: which requests run together, when they run, and which are rejected."""

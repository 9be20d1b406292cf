# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts: canaries with a verdict, and whether a release serves what its chart specifies."""

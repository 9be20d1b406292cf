# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Trust: which types a bundle may build, and pipelines that are built from these alone."""

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Data: from a source to tables with features and a target, checked and split before anything is fitted."""

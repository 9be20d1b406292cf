# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Bundling: from a fitted pipeline and sample rows to a sealed bundle."""

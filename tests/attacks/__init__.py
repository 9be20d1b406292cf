# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Attacks with crafted bundles. Each ends in one sentence with the reason, and never in a signal."""

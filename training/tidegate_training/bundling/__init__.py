# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Bundling: from a fitted pipeline and sample rows to contract, parity report and sealed bundle.

It knows no configuration file and trains nothing: a caller with a fitted pipeline needs nothing else.
"""

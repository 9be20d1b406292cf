# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: metrics with intervals, breakdowns, comparisons and findings, and their plots.

It works on targets and outputs only: it reads no data and fits no model but the dummy model.
"""

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Observability: metrics for Prometheus, and the drift of features and predictions."""

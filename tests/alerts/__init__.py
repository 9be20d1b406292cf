# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The alerts of the rendered charts, as Prometheus' own rule engine evaluates them."""

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Upgrades of releases from an older version of the charts, by Helm 3 and Helm 4, on a real API server."""

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Kubernetes, read-only: the API client, and the conditions and states of pods."""

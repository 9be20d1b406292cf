# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that fit networks with Keras: ``make test-keras``, in an environment of its own."""

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Codecs: bytes to a validated inference request, and outputs to bytes.

They use no web framework, no thread and no event loop.
"""

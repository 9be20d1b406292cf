# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Codecs: bytes to a validated inference request, and outputs to bytes. No framework, no thread, no event loop."""

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Tests with the tools of the formats: OpenSSF's model signing and CycloneDX's schema."""

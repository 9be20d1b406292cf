# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol, both directions: requests, responses and their constants."""

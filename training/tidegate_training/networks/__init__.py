# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Neural networks of Keras: fitted from a few options, and read layer by layer into arrays.

Keras is imported when a network is fitted or a file is opened, and by no server.
"""

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Loading: from a bundle to an engine. Nothing is built before everything is checked."""

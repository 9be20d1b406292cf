# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``make examples``: each example is trained, served, requested and load-tested, as its README says."""

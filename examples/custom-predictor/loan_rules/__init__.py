# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rules of a lender around the model of examples/credit-risk."""

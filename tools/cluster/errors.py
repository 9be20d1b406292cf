# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The one error that this package raises when something it was asked for cannot be done.

It carries a sentence for a person: what failed, and what to look at. It never carries a stack trace, and no
module catches it to go on as if nothing had happened.
"""


class ClusterError(Exception):
    """Something that the test cluster needs is missing, failed or took too long."""

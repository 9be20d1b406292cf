# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Error texts: a bound on the number of different errors that are counted apart.

A server may put a time or an identifier into each error. Without the bound, memory would grow with the number
of failures.
"""

from collections.abc import Collection

OTHER_ERRORS = "other errors"
MAX_ERRORS = 100


def limit_errors(error: str, known: Collection[str]) -> str:
    """Return the error, or :data:`OTHER_ERRORS` if it is new and enough others are known.

    >>> limit_errors("status 503", known=[])
    'status 503'
    """
    return error if error in known or len(known) < MAX_ERRORS else OTHER_ERRORS

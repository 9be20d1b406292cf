# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from tidegate_loadtests.error_texts import MAX_ERRORS, OTHER_ERRORS, limit_errors


def test_different_errors_are_bounded_and_known_ones_kept() -> None:
    known: set[str] = set()
    for number in range(2 * MAX_ERRORS):
        known.add(limit_errors(f"status 503: after {number} ms", known))
    assert len(known) == MAX_ERRORS + 1
    assert OTHER_ERRORS in known
    assert limit_errors("status 503: after 0 ms", known) == "status 503: after 0 ms"

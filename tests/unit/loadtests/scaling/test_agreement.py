# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from tidegate_loadtests.scaling.agreement import largest_difference


@pytest.mark.parametrize(
    ("observed", "shift", "expected"),
    [
        ([1, 1, 1, 4, 4, 4, 4, 2], 0, 0),
        ([1, 1, 1, 1, 1, 4, 4, 4], 2, 0),
        ([1, 4, 4, 4, 4, 4, 4, 2], 2, 0),
        ([1, 1, 1, 1, 1, 4, 4, 4], 1, 3),
        ([1, 1, 1, 5, 5, 5, 5, 2], 2, 1),
        ([0, 0, 0, 4, 4, 4, 4, 2], 1, 1),
    ],
)
def test_largest_difference_is_what_no_shift_explains(observed: list[int], shift: int, expected: int) -> None:
    simulated = np.array([1, 1, 1, 4, 4, 4, 4, 2])
    assert largest_difference(simulated, np.array(observed), shift) == expected

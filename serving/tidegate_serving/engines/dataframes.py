# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Data frames: scikit-learn's test for them, without its cost for arrays.

scikit-learn tests its input several times per call with functions of narwhals, which search the attributes of
its class each time. A numpy array is never a data frame. Arrays alone are tested here, and every result stays
the same.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

Test = Callable[[Any], bool]
"""Return whether a value is a data frame, or a series."""


def recognize_arrays() -> None:
    """Replace the tests for the whole process, once. Without narwhals, scikit-learn has tests of its own."""
    try:
        from narwhals.stable.v2 import dependencies
    except ImportError:
        return
    for name in ("is_into_dataframe", "is_into_series"):
        test = getattr(dependencies, name)
        if not hasattr(test, "__wrapped__"):
            setattr(dependencies, name, unless_array(test))


def unless_array(test: Test) -> Test:
    """Return a test that is false for arrays, and the given one for every other value."""

    @wraps(test)
    def test_unless_array(value: Any) -> bool:
        return not isinstance(value, np.ndarray) and test(value)

    return test_unless_array

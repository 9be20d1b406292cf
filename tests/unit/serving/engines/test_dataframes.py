# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pandas as pd
import pytest
from narwhals.stable.v2 import dependencies

from tidegate_serving.engines.dataframes import recognize_arrays, unless_array

FRAME = pd.DataFrame({"a": [1.0]})


@pytest.mark.parametrize("value", [np.zeros((1, 2)), np.zeros(1, object)])
def test_unless_array_array_is_false_without_a_test(value: Any) -> None:
    def test(value: Any) -> bool:
        raise AssertionError("an array needs no test")

    assert unless_array(test)(value) is False


def test_recognize_arrays_keeps_every_result_and_wraps_once() -> None:
    recognize_arrays()
    tests = dependencies.is_into_dataframe, dependencies.is_into_series
    recognize_arrays()
    assert tests == (dependencies.is_into_dataframe, dependencies.is_into_series)
    for value in (FRAME, FRAME["a"], np.zeros((1, 2)), [1.0]):
        assert [test(value) for test in tests] == [test.__wrapped__(value) for test in tests]  # type: ignore[attr-defined]
    assert [test(FRAME) for test in tests] == [True, False]

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest

from tidegate.contract import Datatype, Output
from tidegate.outputs import conform


@pytest.mark.parametrize(
    ("output", "values", "dtype", "expected"),
    [
        (Output(name="label", datatype=Datatype.INT64), [[1], [0]], np.int64, [1, 0]),
        (Output(name="label", datatype=Datatype.BYTES), ["no", "yes"], object, ["no", "yes"]),
        (Output(name="scores", datatype=Datatype.FP32, width=2), [[0.5, 1]], np.float32, [[0.5, 1.0]]),
        (Output(name="scores", datatype=Datatype.FP64, width=1), [0.5, 1], np.float64, [[0.5], [1.0]]),
    ],
)
def test_conform_gives_the_contracts_type_and_shape(
    output: Output, values: Any, dtype: Any, expected: Any
) -> None:
    array = conform(output, np.array(values))
    assert array.dtype == dtype
    assert array.tolist() == expected


def test_conform_does_not_copy_a_conforming_array() -> None:
    array = np.zeros((3, 2), np.float32)
    assert np.shares_memory(conform(Output(name="p", datatype=Datatype.FP32, width=2), array), array)

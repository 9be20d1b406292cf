# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np

from tidegate.batch import Batch
from tidegate_serving.engines.result import BatchResult, ResultSlice

RESULT = BatchResult(
    Batch({"input-0": np.zeros((3, 2))}),
    {"label": np.array([7, 8, 9]), "probabilities": np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])},
)


def test_result_slice_length_is_its_number_of_rows() -> None:
    assert [
        len(ResultSlice(RESULT, 0, 3)),
        len(ResultSlice(RESULT, 1, 2)),
        len(ResultSlice(RESULT, 1, 1)),
    ] == [
        3,
        1,
        0,
    ]


def test_result_slice_array_has_its_own_rows_only() -> None:
    part = ResultSlice(RESULT, 1, 3)
    assert part.array("label").tolist() == [8, 9]
    assert part.array("probabilities").tolist() == [[0.2, 0.8], [0.3, 0.7]]


def test_result_slice_array_is_a_view_of_the_batch() -> None:
    assert np.shares_memory(ResultSlice(RESULT, 0, 1).array("label"), RESULT.outputs["label"])

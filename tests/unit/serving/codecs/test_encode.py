# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from tidegate_serving.codecs import encode
from tidegate_serving.codecs.encode import BatchResult, Outputs, ResultSlice
from tidegate_serving.codecs.request import InferenceRequest

from tests.support.contracts import MATRIX, contract
from tidegate.batch import Batch
from tidegate.contract import Contract

ANSWERS = {"label": np.array([1, 0]), "probabilities": np.array([[0.1, 0.9], [0.75, 0.25]], dtype=np.float32)}
TEXT = contract([{"name": "a", "datatype": "FP32"}], [{"name": "label", "datatype": "BYTES"}])


NO_ROWS = Batch({})
"""Printing asks nothing of the rows."""


def whole(answers: Outputs) -> ResultSlice:
    return ResultSlice(BatchResult(NO_ROWS, answers), 0, len(next(iter(answers.values()))))


def question(of: Contract, binary: frozenset[str] = frozenset()) -> InferenceRequest:
    return InferenceRequest(Batch({"input-0": np.zeros((2, 2))}), "7", of.outputs, binary)


def test_v1_answers_with_the_first_output() -> None:
    assert encode.v1(MATRIX, whole(ANSWERS)) == b'{"predictions":[1,0]}'


def test_floats_are_printed_in_the_shortest_form() -> None:
    body, length = encode.v2("m", "abc", question(MATRIX), whole(ANSWERS))
    assert length is None
    assert b"[0.1,0.9,0.75,0.25]" in body
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "abc",
        "id": "7",
        "outputs": [
            {"name": "label", "shape": [2], "datatype": "INT64", "data": [1, 0]},
            {"name": "probabilities", "shape": [2, 2], "datatype": "FP32", "data": [0.1, 0.9, 0.75, 0.25]},
        ],
    }


def test_binary_outputs_follow_the_json_and_the_others_stay_in_it() -> None:
    body, length = encode.v2("m", "abc", question(MATRIX, frozenset({"probabilities"})), whole(ANSWERS))
    assert length is not None
    outputs = json.loads(body[:length])["outputs"]
    assert outputs[0]["data"] == [1, 0]
    assert outputs[1]["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(body[length:], dtype="<f4").tolist() == ANSWERS["probabilities"].reshape(-1).tolist()


def test_text_goes_as_json_strings_or_with_its_length() -> None:
    answers = {"label": np.array(["no", "ja"], dtype=object)}
    assert encode.v1(TEXT, whole(answers)) == b'{"predictions":["no","ja"]}'
    body, length = encode.v2("m", "v", question(TEXT, frozenset({"label"})), whole(answers))
    assert body[length:] == b"\x02\x00\x00\x00no\x02\x00\x00\x00ja"


def test_a_slice_of_a_larger_answer_is_printed_as_itself() -> None:
    body, _ = encode.v2("m", "v", question(MATRIX), ResultSlice(BatchResult(NO_ROWS, ANSWERS), 1, 2))
    assert json.loads(body)["outputs"][1]["data"] == [0.75, 0.25]


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 40])
def test_any_number_of_rows_is_printed_as_json_prints_them(rows: int) -> None:
    floats = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    floats[3] = [1e-30, -0.0]
    texts = np.array([f'a "{index}", [b]' for index in range(50)], dtype=object)
    sheet = BatchResult(NO_ROWS, {"label": texts, "probabilities": floats})
    for start in (0, 3, 50 - rows):
        share = ResultSlice(sheet, start, start + rows)
        assert json.loads(b"[%b]" % share.elements("label")) == texts[start : start + rows].tolist()
        printed = json.loads(b"[%b]" % share.elements("probabilities"))
        assert (
            np.array(printed, dtype=np.float32).tolist() == floats[start : start + rows].reshape(-1).tolist()
        )


def test_a_prediction_of_several_values_is_a_list_a_row() -> None:
    wide = contract(
        [{"name": "a", "datatype": "FP32"}], [{"name": "prediction", "datatype": "FP32", "width": 2}]
    )
    answers = {"prediction": np.array([[1, 2], [3, 4]], dtype=np.float32)}
    assert encode.v1(wide, whole(answers)) == b'{"predictions":[[1.0,2.0],[3.0,4.0]]}'

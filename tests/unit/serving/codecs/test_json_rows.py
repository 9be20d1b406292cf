# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from tidegate.batch import Batch
from tidegate_serving.codecs.json_rows import encode_elements, encode_rows, parse_object, shown_keys
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.errors import RequestError

NO_ROWS = Batch({})
FLOATS = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
FLOATS[3] = [1e-30, -0.0]
TEXTS = np.array([f'a "{index}", [b]' for index in range(50)], dtype=object)


@pytest.mark.parametrize(
    ("body", "received"),
    [(b"{", "body"), (b"", "body"), (b"[1]", "a list"), (b"7", "7"), (b"[" * 100_000, "body")],
    ids=["cut", "empty", "list", "number", "deep"],
)
def test_parse_object_of_other_json_is_rejected(body: bytes, received: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert str(caught.value).startswith("body: expected ")
    assert received in str(caught.value)


def test_parse_object_accepts_a_memoryview() -> None:
    assert parse_object(memoryview(b'{"a": [1.5]}')) == {"a": [1.5]}


def test_shown_keys_names_a_few_keys_and_never_a_long_one() -> None:
    assert shown_keys({}) == "an empty object"
    assert shown_keys({"a": 1, "b": 2}) == "an object with 'a', 'b'"
    assert len(shown_keys({str(index) + "é" * 1000: 1 for index in range(100)})) < 400


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 40])
def test_encode_elements_of_any_row_count_equals_json(rows: int) -> None:
    result = BatchResult(NO_ROWS, {"label": TEXTS, "probabilities": FLOATS})
    for start in (0, 3, 50 - rows):
        part = ResultSlice(result, start, start + rows)
        texts = json.loads(b"[%b]" % encode_elements(part, "label"))
        floats = json.loads(b"[%b]" % encode_elements(part, "probabilities"))
        assert texts == TEXTS[start : start + rows].tolist()
        expected = FLOATS[start : start + rows].reshape(-1)
        assert np.array(floats, dtype=np.float32).tolist() == expected.tolist()


def test_encode_elements_encodes_the_rows_of_a_batch_once() -> None:
    result = BatchResult(NO_ROWS, {"label": TEXTS})
    encode_elements(ResultSlice(result, 0, 1), "label")
    rows = result.json_rows["label"]
    encode_elements(ResultSlice(result, 1, 3), "label")
    assert result.json_rows["label"] is rows


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([1, -2]), [b"1", b"-2"]),
        (np.array([[0.1, 0.9]], dtype=np.float32), [b"0.1,0.9"]),
        (np.array([True, False]), [b"true", b"false"]),
        (np.array(["a,b"], dtype=object), [b'"a,b"']),
        (np.array([["a", "b"]], dtype=object), [b'"a","b"']),
    ],
    ids=["integers", "floats", "booleans", "texts", "texts-wide"],
)
def test_encode_rows_has_one_entry_per_row(array: np.ndarray, expected: list[bytes]) -> None:
    assert encode_rows(array) == expected


def test_encode_rows_of_fp32_is_the_shortest_form() -> None:
    assert encode_rows(np.array([0.1], dtype=np.float32)) == [b"0.1"]

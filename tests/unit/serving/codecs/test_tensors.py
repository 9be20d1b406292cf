# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors by themselves; ``test_v2`` has them as parts of requests."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import MATRIX
from tidegate.protocol.requests import encode_raw_tensor
from tidegate_serving.codecs.tensors import (
    check_element_count,
    check_tensor_count,
    decode_text,
    parse_datatype,
    parse_raw_tensor,
    parse_shape,
)
from tidegate_serving.codecs.validation import DATATYPES
from tidegate_serving.errors import RequestError

WHERE = "inputs[0]"
NUMBERS = [name for name in DATATYPES if name not in ("BOOL", "BYTES")]


@pytest.mark.parametrize("shape", [[1], [0], [3, 2]])
def test_parse_shape_returns_one_or_two_sizes(shape: list[int]) -> None:
    assert parse_shape(WHERE, shape) == tuple(shape)


@pytest.mark.parametrize(
    ("shape", "received"),
    [([], "0"), ([1, 2, 3], "3"), ([-1, 2], "[-1, 2]"), ([1.0, 2], "[1.0, 2]"), ([True, 2], "[True, 2]")],
)
def test_parse_shape_rejects_other_shapes(shape: list[Any], received: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_shape(WHERE, shape)
    assert str(caught.value).startswith("inputs[0].shape: expected ")
    assert str(caught.value).endswith(f"received {received}.")


def test_parse_shape_rejects_many_sizes_before_multiplying() -> None:
    with pytest.raises(RequestError, match="received 200000"):
        parse_shape(WHERE, [2**62] * 200_000)


@pytest.mark.parametrize("datatype", [None, 7, "FP99", "fp32", "é" * 1_000_000])
def test_parse_datatype_rejects_what_the_protocol_lacks(datatype: object) -> None:
    with pytest.raises(RequestError) as caught:
        parse_datatype(WHERE, datatype)
    assert str(caught.value).startswith("inputs[0].datatype: expected one of BOOL, ")
    assert len(str(caught.value)) < 250


def test_check_tensor_count_allows_one_per_feature() -> None:
    check_tensor_count(MATRIX, 2)
    with pytest.raises(
        RequestError, match=r"^inputs: expected at most 2 tensors, one per feature, received 3"
    ):
        check_tensor_count(MATRIX, 3)


def test_check_element_count_compares_with_the_shape() -> None:
    check_element_count(WHERE, (2, 3), 6)
    with pytest.raises(RequestError, match=r"^inputs\[0\]\.data: expected 6 elements .* received 5"):
        check_element_count(WHERE, (2, 3), 5)


@pytest.mark.parametrize("datatype", NUMBERS)
def test_parse_raw_tensor_reads_little_endian_numbers(datatype: str) -> None:
    array = np.array([1, 2, 3], dtype=DATATYPES[datatype])
    np.testing.assert_array_equal(parse_raw_tensor(WHERE, datatype, (3,), array.tobytes()), array)


@pytest.mark.parametrize("datatype", [*NUMBERS, "BOOL"])
def test_parse_raw_tensor_rejects_another_byte_count(datatype: str) -> None:
    size = DATATYPES[datatype].itemsize
    with pytest.raises(RequestError, match=f"expected {2 * size} bytes .* received {2 * size - 1}"):
        parse_raw_tensor(WHERE, datatype, (2,), bytes(2 * size - 1))


def test_parse_raw_tensor_rejects_a_boolean_above_one() -> None:
    assert parse_raw_tensor(WHERE, "BOOL", (2,), b"\x00\x01").tolist() == [False, True]
    with pytest.raises(RequestError, match=r"BOOL.*received 2"):
        parse_raw_tensor(WHERE, "BOOL", (1,), b"\x02")


@pytest.mark.parametrize(
    "content",
    [
        b"\x03\x00\x00\x00re",
        b"\x03\x00",
        b"\xff\xff\xff\xffred",
        b"\x02\x00\x00\x00\xff\xff",
        b"",
        struct.pack("<I", 1) + b"a" + struct.pack("<I", 1) + b"b" + b"\x00",
    ],
)
def test_parse_raw_tensor_rejects_broken_texts(content: bytes) -> None:
    with pytest.raises(RequestError, match=r"^inputs\[0\].*expected .*received "):
        parse_raw_tensor(WHERE, "BYTES", (2,), content)


def test_parse_raw_tensor_stops_at_the_shapes_text_count() -> None:
    with pytest.raises(RequestError, match="expected 1 BYTES elements, as the shape says, received more"):
        parse_raw_tensor(WHERE, "BYTES", (1,), bytes(4_000_000))


def test_decode_text_names_the_element() -> None:
    assert decode_text("é".encode(), WHERE, 7) == "é"
    with pytest.raises(RequestError, match=r"^inputs\[0\] element 7: expected UTF-8 text, received "):
        decode_text(b"\xff", WHERE, 7)


@given(texts=st.lists(st.text(), max_size=5))
def test_parse_raw_tensor_reverses_the_clients_encoding(texts: list[str]) -> None:
    content = encode_raw_tensor(np.array(texts, dtype=object))
    assert parse_raw_tensor(WHERE, "BYTES", (len(texts),), content).tolist() == texts

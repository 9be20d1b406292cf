# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.support.bundles import contract
from tidegate.contract import Datatype
from tidegate.protocol.constants import Protocol
from tidegate.protocol.requests import encode_raw_tensor, v2_binary_body
from tidegate.protocol.responses import decode_raw_tensor, parse_outputs
from tidegate.protocol.samples import sample_rows

NUMBERS = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]


AMBIGUOUS = {Datatype.BOOL, Datatype.FP32, Datatype.FP64}
"""Types with several byte sequences for one value, such as True and NaN."""


@contextmanager
def value_error_is_ours() -> Iterator[None]:
    """Let a ValueError pass if its message tells what was expected; any other error fails the test."""
    try:
        yield
    except ValueError as error:
        if "expected" not in str(error):
            raise


def v2(*outputs: dict[str, Any]) -> bytes:
    return json.dumps({"outputs": outputs}).encode()


def output(**members: Any) -> dict[str, Any]:
    return {"name": "y", "datatype": "INT64", "shape": [2], "data": [1, 2]} | members


def binary(size: int, **members: Any) -> dict[str, Any]:
    entry = output(parameters={"binary_data_size": size}, **members)
    del entry["data"]
    return entry


@given(st.sampled_from(NUMBERS).flatmap(lambda kind: st.tuples(st.just(kind), arrays.arrays(kind.dtype, 7))))
def test_raw_numbers_survive_a_round_trip(sample: tuple[Datatype, Any]) -> None:
    datatype, array = sample
    decoded = np.array(decode_raw_tensor(encode_raw_tensor(array), datatype), datatype.dtype)
    np.testing.assert_array_equal(decoded, array)


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_raw_texts_survive_a_round_trip(texts: list[str]) -> None:
    assert decode_raw_tensor(encode_raw_tensor(np.array(texts, dtype=object)), "BYTES") == texts


def test_raw_numbers_are_little_endian_and_row_major() -> None:
    array = np.array([[1, 2], [3, 4]], dtype=">i4", order="F")
    assert encode_raw_tensor(array) == b"".join(n.to_bytes(4, "little") for n in (1, 2, 3, 4))


@given(st.binary(max_size=40), st.sampled_from(Datatype))
def test_raw_tensor_of_any_bytes_decodes_or_raises_value_error(content: bytes, datatype: Datatype) -> None:
    with value_error_is_ours():
        values = decode_raw_tensor(content, datatype)
        assert encode_raw_tensor(np.array(values, datatype.dtype)) == content or datatype in AMBIGUOUS


@pytest.mark.parametrize(
    ("content", "datatype", "said"),
    [
        (b"1234567", "INT64", ("INT64", "multiple of 8 bytes", "received 7")),
        (b"12", "BYTES", ("element 0", "expected 4 bytes", "received 2")),
        (b"\1\0\0\0a\5\0\0\0ab", "BYTES", ("element 1", "expected 5 bytes", "received 2")),
        (b"\1\0\0\0\xff", "BYTES", ("element 0", "UTF-8", r"\xff")),
        (b"", "INT7", ("datatype", "BOOL", "INT64", "'INT7'")),
    ],
)
def test_raw_tensor_error_tells_place_expected_and_received(
    content: bytes, datatype: str, said: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        decode_raw_tensor(content, datatype)
    assert all(part in str(error.value) for part in said)


def test_v1_outputs_are_named_predictions() -> None:
    assert parse_outputs(Protocol.V1, b'{"predictions": ["a", "b"]}') == {"predictions": ["a", "b"]}


def test_v1_nested_predictions_become_flat() -> None:
    assert parse_outputs(Protocol.V1, b'{"predictions": [[1], [0]]}') == {"predictions": [1, 0]}


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_v2_outputs_are_flat_in_either_form_of_the_data(data: list[Any]) -> None:
    body = v2(output(name="a"), output(name="b", shape=[2, 2], data=data))
    assert parse_outputs(Protocol.V2, body) == {"a": [1, 2], "b": [1, 2, 3, 4]}


def test_v2_binary_outputs_follow_the_json_in_order() -> None:
    texts = encode_raw_tensor(np.array(["no", "yes"], dtype=object))
    numbers = np.array([0.5, 0.25], "<f4").tobytes()
    header = v2(
        binary(len(texts), name="label", datatype="BYTES"),
        output(name="n"),
        binary(8, name="score", datatype="FP32"),
    )
    outputs = parse_outputs(Protocol.V2_BINARY, header + texts + numbers, str(len(header)))
    assert outputs == {"label": ["no", "yes"], "n": [1, 2], "score": [0.5, 0.25]}


def test_v2_binary_request_without_header_in_the_response_is_json() -> None:
    assert parse_outputs(Protocol.V2_BINARY, v2(output()), None) == {"y": [1, 2]}


@given(count=st.integers(0, 5), seed=st.integers(0, 100))
def test_binary_body_survives_a_round_trip(count: int, seed: int) -> None:
    rows = sample_rows(contract(), count, seed)
    body, length = v2_binary_body(contract(), rows)
    document = json.loads(body[:length])
    header = json.dumps({"outputs": document["inputs"]}).encode()
    columns = parse_outputs(Protocol.V2_BINARY, header + body[length:], str(len(header)))
    missing = {"length": lambda value: value is None or np.isnan(value), "colour": lambda value: not value}
    for feature, expected in zip(contract().features, zip(*rows, strict=True), strict=False):
        for received, value in zip(columns[feature.name], expected, strict=True):
            if value is None:
                assert missing[feature.name](received)
            else:
                assert received == pytest.approx(value)
                assert type(received) is type(value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", ("body", "JSON", "<html>")),
        (b"[]", ("body", "'predictions'", "[]")),
        (b'{"error": "no"}', ("body", "'predictions'", "{'error': 'no'}")),
        (b'{"predictions": 1}', ("predictions", "a list", "received 1")),
        (b'{"predictions": [1, [2]]}', ("predictions", "one depth", "[1, [2]]")),
        (b'{"predictions": [{"a": 1}]}', ("predictions", "scalars or lists", "{'a': 1}")),
    ],
)
def test_v1_error_tells_place_expected_and_received(body: bytes, said: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        parse_outputs(Protocol.V1, body)
    assert all(part in str(error.value) for part in said)


@pytest.mark.parametrize(
    ("body", "length", "said"),
    [
        (b"\xff", None, ("body", "JSON", r"\xff")),
        (b"{}", None, ("body", "'outputs'", "{}")),
        (b"{}", "3", ("Inference-Header-Content-Length", "from 0 to 2", "'3'")),
        (b"{}", "-1", ("Inference-Header-Content-Length", "from 0 to 2", "'-1'")),
        (b"{}", "two", ("Inference-Header-Content-Length", "from 0 to 2", "'two'")),
        (b'{"outputs": 1}', None, ("outputs", "a list", "received 1")),
        (b'{"outputs": [1]}', None, ("outputs[0]", "'name'", "received 1")),
        (v2(output(name=3)), None, ("outputs[0].name", "a text", "received 3")),
        (v2(output(), output()), None, ("outputs[1].name", "no other output", "'y'")),
        (v2(output(data=None)), None, ("outputs[0].data", "a list", "None")),
        (v2(output(data=[1])), None, ("outputs[0]", "expected 2 values", "received 1")),
        (v2(output(shape="two")), None, ("outputs[0].shape", "list of integers", "'two'")),
        (v2(output(shape=[-2])), None, ("outputs[0].shape", "at least 0", "[-2]")),
        (v2(output(parameters=[1])), None, ("outputs[0].parameters", "an object", "[1]")),
        (v2(binary(-1)), None, ("binary_data_size", "at least 0", "received -1")),
        (v2(binary(True)), None, ("binary_data_size", "an integer", "received True")),
        (v2(binary(16)), None, ("outputs[0]", "expected 16 bytes", "received 0")),
        (v2(binary(0, datatype="X")), None, ("outputs[0].datatype", "INT64", "'X'")),
        (v2(binary(0)), None, ("outputs[0]", "expected 2 values", "received 0")),
        (v2(binary(0, datatype=[])), None, ("outputs[0].datatype", "INT64", "[]")),
    ],
)
def test_v2_error_tells_place_expected_and_received(
    body: bytes, length: str | None, said: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        parse_outputs(Protocol.V2, body, length)
    assert all(part in str(error.value) for part in said)


def test_v2_binary_tensor_of_odd_size_raises_value_error() -> None:
    header = v2(binary(15))
    with pytest.raises(ValueError, match=re.escape("outputs[0]: raw INT64 tensor")) as error:
        parse_outputs(Protocol.V2_BINARY, header + bytes(15), str(len(header)))
    assert "multiple of 8 bytes" in str(error.value)
    assert "received 15" in str(error.value)


def test_v2_binary_bytes_after_the_last_tensor_raise_value_error() -> None:
    header = v2(binary(16))
    with pytest.raises(ValueError, match="expected") as error:
        parse_outputs(Protocol.V2_BINARY, header + bytes(17), str(len(header)))
    assert f"{len(header) + 16} bytes" in str(error.value)
    assert f"received {len(header) + 17}" in str(error.value)


def test_grpc_responses_raise_value_error() -> None:
    with pytest.raises(ValueError, match="expected v1, v2 or v2-binary, received grpc"):
        parse_outputs(Protocol.GRPC, b"")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["outputs", "predictions", "name", "data", "shape", "datatype", "parameters"]
                ),
                inner,
            )
        ),
    ),
    st.sampled_from([Protocol.V1, Protocol.V2, Protocol.V2_BINARY]),
)
def test_any_json_parses_or_raises_value_error(document: Any, protocol: Protocol) -> None:
    with value_error_is_ours():
        outputs = parse_outputs(protocol, json.dumps(document).encode())
        assert all(isinstance(values, list) for values in outputs.values())

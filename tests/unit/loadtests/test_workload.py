# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import json
import struct
from collections import Counter

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_loadtests.plan import LoadTest, Protocol
from tidegate_loadtests.workload import HEADER_LENGTH, Question, deck, mistake

from tests.support.stub_server import make_contract

CONTRACT = make_contract()


def question(protocol: str, rows: int = 2, expected: dict[str, list[float]] | None = None) -> Question:
    return Question(Protocol(protocol), "/", {}, b"", rows, expected)


def v2(label: object, probabilities: object, **changes: object) -> bytes:
    outputs = [
        {"name": "label", "datatype": "INT64", "shape": [2], "data": label},
        {"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": probabilities} | changes,
    ]
    return json.dumps({"outputs": outputs}).encode()


def binary(labels: list[int], probabilities: list[float]) -> tuple[str, bytes]:
    outputs = [
        {
            "name": "label",
            "datatype": "INT64",
            "shape": [len(labels)],
            "parameters": {"binary_data_size": 8 * len(labels)},
        },
        {"name": "probabilities", "datatype": "FP32", "shape": [len(labels), 2], "data": probabilities},
    ]
    header = json.dumps({"outputs": outputs}).encode()
    return str(len(header)), header + struct.pack(f"<{len(labels)}q", *labels)


def test_a_deck_has_the_plans_mix_and_golden_questions_with_their_answers() -> None:
    plan = LoadTest(users=1, duration=1, rows=3, protocols={"v1": 3, "v2": 1})
    questions = deck(plan, CONTRACT)
    share = Counter(question.protocol for question in questions)[Protocol.V1] / len(questions)
    assert abs(share - 0.75) < 0.08
    golden = [question for question in questions if question.expected]
    assert len(golden) == len(questions) / 8
    assert golden[0].expected == {
        "label": [0, 0, 1],
        "probabilities": pytest.approx([1, 0, 0.7, 0.3, 0.4, 0.6]),
    }
    assert len({question.body for question in questions}) > len(questions) * 0.8
    assert deck(plan, CONTRACT) == questions


def test_a_binary_question_says_where_its_header_ends() -> None:
    first = deck(LoadTest(users=1, duration=1, protocols={"v2-binary": 1}), CONTRACT)[0]
    header = orjson.loads(first.body[: int(first.headers[HEADER_LENGTH])])
    assert header["inputs"][0]["shape"] == [1, 3]
    assert first.headers["Content-Type"] == "application/octet-stream"


def test_many_rows_make_fewer_questions() -> None:
    assert len(deck(LoadTest(users=1, duration=1, rows=2_000), CONTRACT)) == 83


@pytest.mark.parametrize(
    ("protocol", "body"),
    [("v1", b'{"predictions": [0, 1]}'), ("v2", v2([0, 1], [1.0, 0.0, 0.25, 0.75]))],
)
def test_a_right_answer_has_no_mistake(protocol: str, body: bytes) -> None:
    expected = {"label": [0, 1], "probabilities": [1.0, 0.0, 0.25, 0.750001]}
    assert mistake(question(protocol), CONTRACT, None, body) is None
    assert mistake(question(protocol, expected=expected), CONTRACT, None, body) is None


def test_a_binary_answer_is_read_from_its_tensors() -> None:
    length, body = binary([0, 1], [1.0, 0.0, 0.25, 0.75])
    asked = question("v2-binary", expected={"label": [0, 1]})
    assert mistake(asked, CONTRACT, length, body) is None
    length, body = binary([0, 2], [1.0, 0.0, 0.25, 0.75])
    assert mistake(asked, CONTRACT, length, body) == "wrong answer: label of a golden row"


@pytest.mark.parametrize(
    ("protocol", "body", "expected"),
    [
        ("v1", b'{"predictions": [0]}', "wrong answer: 1 values of label for 2 rows"),
        ("v1", b'{"predictions": "01"}', "wrong answer: the values of label are no list"),
        ("v1", b'{"predictions": [1, 1]}', "wrong answer: label of a golden row"),
        ("v1", b'{"predictions": [false, true]}', "wrong answer: label of a golden row"),
        ("v1", b"<html>", "wrong answer: not of the protocol's form"),
        ("v2", b"[]", "wrong answer: not of the protocol's form"),
        ("v2", b'{"outputs": []}', "wrong answer: outputs "),
        ("v2", v2([0, 1], [1.0, 0.0]), "wrong answer: not of the protocol's form"),
        ("v2", v2([0, 1], [1.0, 0.0], shape=[1, 2]), "wrong answer: 2 values of probabilities for 2 rows"),
        ("v2", v2([0, 1], [1.0, 0.0, 0.26, 0.74]), "wrong answer: probabilities of a golden row"),
        ("v2", v2([0, 1], [1.0, 0.0, None, 0.75]), "wrong answer: probabilities of a golden row"),
    ],
)
def test_a_wrong_answer_is_told_as_what_it_is(protocol: str, body: bytes, expected: str) -> None:
    asked = question(protocol, expected={"label": [0, 1], "probabilities": [1.0, 0.0, 0.25, 0.75]})
    assert mistake(asked, CONTRACT, None, body) == expected


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["outputs", "predictions", "name", "shape", "data", "datatype", "parameters"]),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    protocol=st.sampled_from(["v1", "v2", "v2-binary"]),
    header_length=st.none() | st.text(max_size=4) | st.integers(-5, 50).map(str),
    body=st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()),
)
def test_no_answer_breaks_the_check(protocol: str, header_length: str | None, body: bytes) -> None:
    found = mistake(question(protocol, rows=50), CONTRACT, header_length, body)
    assert found is not None
    assert found.startswith("wrong answer")

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.headers import parse_json_length, parse_media_type, parse_timeout

ARABIC_INDIC_THREE = "\u0663"


@pytest.mark.parametrize(
    ("client_value", "envoy_value", "expected"),
    [
        (None, None, None),
        ("250", None, 0.25),
        ("0", None, 0.0),
        (None, "15000", 15.0),
        ("250", "15000", 0.25),
        ("15000", "250", 0.25),
        (None, "0", None),
        (None, "soon", None),
        (None, "-5", None),
        ("100", ARABIC_INDIC_THREE, 0.1),
    ],
)
def test_parse_timeout_returns_the_shorter_in_seconds(
    client_value: str | None, envoy_value: str | None, expected: float | None
) -> None:
    assert parse_timeout(client_value, envoy_value) == expected


@pytest.mark.parametrize(
    "value", ["", "-1", "1.5", "1e3", "1s", " 1", ARABIC_INDIC_THREE, "1234567890", "0x10"]
)
def test_parse_timeout_client_value_not_a_number_raises(value: str) -> None:
    with pytest.raises(RequestError, match=r"X-Request-Timeout-Ms: expected .* received") as caught:
        parse_timeout(value, None)
    assert f"received '{value}'" in str(caught.value)
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


@given(st.none() | st.text(), st.none() | st.text())
def test_parse_timeout_any_text_is_a_time_or_raises(
    client_value: str | None, envoy_value: str | None
) -> None:
    try:
        timeout = parse_timeout(client_value, envoy_value)
    except RequestError:
        assert client_value is not None
    else:
        assert timeout is None or 0 <= timeout < 1e6


@given(st.integers(0, 999_999_999))
def test_parse_timeout_converts_milliseconds_exactly(milliseconds: int) -> None:
    assert parse_timeout(str(milliseconds), None) == milliseconds / 1000


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (None, "application/json"),
        ("", ""),
        ("APPLICATION/json ; charset=utf-8", "application/json"),
        ("text/plain", "text/plain"),
    ],
)
def test_parse_media_type_drops_the_parameters(content_type: str | None, expected: str) -> None:
    assert parse_media_type(content_type) == expected


@pytest.mark.parametrize(("value", "expected"), [(None, None), ("0", 0), ("17", 17), ("9" * 18, 10**18 - 1)])
def test_parse_json_length_returns_the_bytes(value: str | None, expected: int | None) -> None:
    assert parse_json_length(value) == expected


@pytest.mark.parametrize("value", ["", "-1", "x", "1e3", "9" * 19, ARABIC_INDIC_THREE])
def test_parse_json_length_not_a_number_raises(value: str) -> None:
    with pytest.raises(RequestError, match="Inference-Header-Content-Length: expected a number") as caught:
        parse_json_length(value)
    assert f"received '{value}'" in str(caught.value)

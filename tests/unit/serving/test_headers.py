# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.headers import OURS, seconds


@pytest.mark.parametrize(
    ("ours", "envoy", "expected"),
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
        ("100", "\u0663", 0.1),
    ],
)
def test_the_shorter_of_both_counts_and_envoys_mistakes_do_not(
    ours: str | None, envoy: str | None, expected: float | None
) -> None:
    assert seconds(ours, envoy) == expected


@pytest.mark.parametrize("ours", ["", "-1", "1.5", "1e3", "1s", " 1", "\u0663", "1234567890", "0x10"])
def test_our_own_header_must_be_a_number(ours: str) -> None:
    with pytest.raises(RequestError, match=f"{OURS}: expected .* received") as caught:
        seconds(ours, None)
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


@given(st.none() | st.text(), st.none() | st.text())
def test_any_text_is_a_time_or_refused(ours: str | None, envoy: str | None) -> None:
    try:
        found = seconds(ours, envoy)
    except RequestError:
        assert ours is not None
    else:
        assert found is None or 0 <= found < 1e6


@given(st.integers(0, 999_999_999))
def test_milliseconds_are_read_as_written(milliseconds: int) -> None:
    assert seconds(str(milliseconds), None) == milliseconds / 1000

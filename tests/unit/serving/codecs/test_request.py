# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.support.contracts import MATRIX
from tidegate_serving.codecs.request import Limits, check_row_count, select_outputs
from tidegate_serving.errors import ErrorCode, RequestError

LIMITS = Limits(rows=4)


@pytest.mark.parametrize("rows", [1, 4])
def test_check_row_count_within_limits_passes(rows: int) -> None:
    check_row_count(rows, LIMITS, "instances")


def test_check_row_count_without_rows_is_invalid() -> None:
    with pytest.raises(RequestError, match=r"^instances: expected at least one row, received none") as caught:
        check_row_count(0, LIMITS, "instances")
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


def test_check_row_count_above_the_limit_is_too_large() -> None:
    with pytest.raises(
        RequestError, match=r"^inputs\[0\]: expected at most 4 rows, received 5; send "
    ) as caught:
        check_row_count(5, LIMITS, "inputs[0]")
    assert caught.value.code is ErrorCode.CONTENT_TOO_LARGE
    assert caught.value.code.http_status == 413
    assert caught.value.code.grpc_status == "INVALID_ARGUMENT"


def test_select_outputs_without_names_returns_all() -> None:
    assert select_outputs(MATRIX, []) is MATRIX.outputs


def test_select_outputs_keeps_the_requested_order() -> None:
    names = ["probabilities", "label"]
    assert [output.name for output in select_outputs(MATRIX, names)] == names


@pytest.mark.parametrize(
    ("names", "place", "received"),
    [
        (["label", "unknown"], "outputs[1].name", "'unknown'"),
        (["label", "label"], "outputs[1].name", "'label'"),
    ],
    ids=["unknown", "duplicate"],
)
def test_select_outputs_rejects_a_wrong_name(names: list[str], place: str, received: str) -> None:
    with pytest.raises(RequestError) as caught:
        select_outputs(MATRIX, names)
    assert str(caught.value).startswith(f"{place}: expected ")
    assert f"received {received}" in str(caught.value)


def test_select_outputs_never_repeats_a_long_name() -> None:
    with pytest.raises(RequestError) as caught:
        select_outputs(MATRIX, ["é" * 1_000_000])
    assert len(str(caught.value)) < 200

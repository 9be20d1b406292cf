# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tidegate_serving.batching.admission import (
    ALWAYS_ADMITTED_QUEUE_DELAY,
    ESTIMATE_ERROR,
    MAX_REJECTION_SECONDS,
    MIN_ADMITTED_CALLS,
    AdmissionController,
    deadline_exceeded,
)
from tidegate_serving.errors import ErrorCode, RequestError


def admits(
    admission: AdmissionController,
    queue_delay: float,
    *,
    min_service_time: float = 0.0,
    queued_rows: int = 1,
) -> bool:
    try:
        admission.reject_if_overloaded(queue_delay, min_service_time, queued_rows)
    except RequestError:
        return False
    return True


@pytest.mark.parametrize("limit", [0.01, 0.5, 2.0, 30.0])
def test_admission_bounds_the_queue_delay(limit: float) -> None:
    admission = AdmissionController(limit)
    longest = limit / (1 + ESTIMATE_ERROR)
    assert [admits(admission, factor * longest) for factor in (0.0, 0.99, 1.01)] == [True, True, False]


def test_admission_default_is_two_seconds() -> None:
    longest = 2.0 / (1 + ESTIMATE_ERROR)
    assert [admits(AdmissionController(), factor * longest) for factor in (0.99, 1.01)] == [True, False]


def test_admission_rejection_changes_no_later_decision() -> None:
    admission = AdmissionController(2.0)
    for _ in range(1_000):
        assert not admits(admission, 2.01)
    assert admits(admission, 1.8)


@pytest.mark.parametrize("min_service_time", [1.0, 30.0])
def test_admission_slow_engine_admits_a_few_calls(min_service_time: float) -> None:
    admission = AdmissionController(2.0)
    calls = MIN_ADMITTED_CALLS * min_service_time
    assert admits(admission, calls * 0.99, min_service_time=min_service_time)
    assert not admits(admission, calls * 1.01, min_service_time=min_service_time)


def test_admission_full_queue_rejects_without_delay() -> None:
    admission = AdmissionController(max_queued_rows=10)
    assert admits(admission, 0.0, queued_rows=10)
    assert not admits(admission, 0.0, queued_rows=11)


@pytest.mark.parametrize("limit", [0.001, ALWAYS_ADMITTED_QUEUE_DELAY, 2.0])
def test_admission_always_admitted_delay_keeps_the_limit(limit: float) -> None:
    admission = AdmissionController(limit)
    assert admits(admission, 0.99 * admission.always_admitted_delay)
    assert admission.always_admitted_delay <= ALWAYS_ADMITTED_QUEUE_DELAY


@pytest.mark.parametrize(("limit", "seconds"), [(0.1, 0.025), (2.0, 0.5), (60.0, MAX_REJECTION_SECONDS)])
def test_admission_holds_rejections_by_the_limit(limit: float, seconds: float) -> None:
    assert AdmissionController(limit).rejection_seconds == seconds


def test_admission_delay_error_has_delay_limit_and_fix() -> None:
    with pytest.raises(RequestError, match=r"up to 0\.83 s.* 0\.50 s.*Retry after 1 s") as caught:
        AdmissionController(0.5).reject_if_overloaded(0.75, 0.0, 1)
    assert "queue delay" in str(caught.value)
    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED


def test_admission_rows_error_has_rows_limit_and_fix() -> None:
    with pytest.raises(RequestError, match=r"\b11 rows.*\b10\b.*Retry after 1 s") as caught:
        AdmissionController(max_queued_rows=10).reject_if_overloaded(0.0, 0.0, 11)
    assert "queue" in str(caught.value)
    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED


def test_deadline_exceeded_has_delay_and_fix() -> None:
    error = deadline_exceeded(0.25)
    assert error.code is ErrorCode.DEADLINE_EXCEEDED
    assert "0.250 s after the deadline" in str(error)
    assert "Set a longer deadline" in str(error)

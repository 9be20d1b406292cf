# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.support.fakes import FakeClock
from tidegate_serving.batching.admission import (
    ALWAYS_ADMITTED_QUEUE_DELAY,
    MAX_QUEUE_DELAY,
    MIN_ADMITTED_CALLS,
    OVERLOAD_INTERVAL,
    OVERLOAD_QUEUE_DELAY,
    AdmissionController,
    deadline_exceeded,
)
from tidegate_serving.errors import ErrorCode, RequestError

BURST = (OVERLOAD_QUEUE_DELAY + MAX_QUEUE_DELAY) / 2
"""A queue delay that is accepted without overload and rejected during one."""


def admits(
    admission: AdmissionController,
    clock: FakeClock,
    queue_delay: float,
    *,
    min_service_time: float = 0.0,
    queued_rows: int = 1,
) -> bool:
    try:
        admission.reject_if_overloaded(clock(), queue_delay, min_service_time, queued_rows)
    except RequestError:
        return False
    return True


@pytest.mark.parametrize(
    ("queue_delay", "admitted"),
    [(0.0, True), (BURST, True), (MAX_QUEUE_DELAY, True), (MAX_QUEUE_DELAY * 1.01, False)],
)
def test_admission_without_overload_accepts_a_burst(queue_delay: float, admitted: bool) -> None:
    assert admits(AdmissionController(), FakeClock(), queue_delay) is admitted


@pytest.mark.parametrize(
    ("seconds_later", "queue_delay", "admitted"),
    [
        (0.0, ALWAYS_ADMITTED_QUEUE_DELAY, True),
        (0.0, OVERLOAD_QUEUE_DELAY, True),
        (0.0, OVERLOAD_QUEUE_DELAY * 1.01, False),
        (0.0, BURST, False),
        (OVERLOAD_INTERVAL * 0.99, BURST, False),
        (OVERLOAD_INTERVAL, BURST, True),
        (OVERLOAD_INTERVAL, MAX_QUEUE_DELAY * 1.01, False),
    ],
)
def test_admission_after_rejection_keeps_queue_short(
    seconds_later: float, queue_delay: float, admitted: bool
) -> None:
    admission, clock = AdmissionController(), FakeClock()
    assert not admits(admission, clock, MAX_QUEUE_DELAY * 1.01)
    clock.advance(seconds_later)
    assert admits(admission, clock, queue_delay) is admitted


def test_admission_rejection_during_overload_prolongs_it() -> None:
    admission, clock = AdmissionController(), FakeClock()
    assert not admits(admission, clock, MAX_QUEUE_DELAY * 1.01)
    clock.advance(OVERLOAD_INTERVAL * 0.75)
    assert not admits(admission, clock, BURST)
    clock.advance(OVERLOAD_INTERVAL * 0.75)
    assert not admits(admission, clock, BURST)
    clock.advance(OVERLOAD_INTERVAL)
    assert admits(admission, clock, BURST)


def test_admission_acceptance_does_not_prolong_an_overload() -> None:
    admission, clock = AdmissionController(), FakeClock()
    assert not admits(admission, clock, MAX_QUEUE_DELAY * 1.01)
    clock.advance(OVERLOAD_INTERVAL * 0.75)
    assert admits(admission, clock, OVERLOAD_QUEUE_DELAY)
    clock.advance(OVERLOAD_INTERVAL * 0.25)
    assert admits(admission, clock, BURST)


@pytest.mark.parametrize("min_service_time", [1.0, 30.0])
def test_admission_slow_engine_admits_two_calls(min_service_time: float) -> None:
    admission, clock = AdmissionController(), FakeClock()
    calls = MIN_ADMITTED_CALLS * min_service_time
    assert not admits(admission, clock, calls * 1.25, min_service_time=min_service_time)
    assert admits(
        admission, clock, calls * 0.95, min_service_time=min_service_time
    )  # also during the overload


def test_admission_full_queue_rejects_without_overload() -> None:
    admission, clock = AdmissionController(max_queued_rows=10), FakeClock()
    assert admits(admission, clock, 0.0, queued_rows=10)
    assert not admits(admission, clock, 0.0, queued_rows=11)
    assert admits(admission, clock, BURST, queued_rows=10)


def test_admission_delay_error_has_delay_limit_and_fix() -> None:
    with pytest.raises(RequestError, match=r"0\.75 s.* 0\.50 s.*Retry after 1 s") as caught:
        AdmissionController().reject_if_overloaded(0.0, 0.75, 0.0, 1)
    assert "queue delay" in str(caught.value)
    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED


def test_admission_rows_error_has_rows_limit_and_fix() -> None:
    with pytest.raises(RequestError, match=r"\b11 rows.*\b10\b.*Retry after 1 s") as caught:
        AdmissionController(max_queued_rows=10).reject_if_overloaded(0.0, 0.0, 0.0, 11)
    assert "queue" in str(caught.value)
    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED


def test_deadline_exceeded_has_delay_and_fix() -> None:
    error = deadline_exceeded(0.25)
    assert error.code is ErrorCode.DEADLINE_EXCEEDED
    assert "0.250 s after the deadline" in str(error)
    assert "Set a longer deadline" in str(error)

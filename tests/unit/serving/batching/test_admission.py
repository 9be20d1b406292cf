# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_serving.batching.admission import (
    OVERLOAD_SECONDS,
    PATIENCE_SECONDS,
    RELIEF_SECONDS,
    AdmissionController,
    EventLoopLag,
)
from tidegate_serving.errors import ErrorCode, RequestError


def refuses(admission: AdmissionController, now: float, wait: float, smallest: float = 0.0) -> bool:
    try:
        admission.check(now, wait, smallest)
    except RequestError:
        return True
    return False


def lag(*turns: tuple[float, float]) -> float:
    """What a request has waited, in seconds, that the turn after these begins with.

    Args:
        turns: For each, how long it takes and how long the loop rests after it.
    """
    seen, now = EventLoopLag(), 100.0
    for worked, rested in turns:
        seen.begin(now)
        seen.end(now + worked)
        now += worked + rested
    seen.begin(now)
    return now - seen.since


def test_a_loop_at_rest_is_not_late() -> None:
    assert lag() == 0.0
    assert lag((0.2, 1.0), (0.2, 1.0)) == 0.0


def test_a_loop_that_goes_from_turn_to_turn_is_as_late_as_they_take() -> None:
    assert lag((0.2, 0.0), (0.2, 0.0)) == pytest.approx(0.2)
    assert lag((0.2, 0.0), (0.2, 0.05)) == pytest.approx(0.15)


def test_one_long_turn_is_no_lateness() -> None:
    assert lag((0.01, 0.0), (5.0, 0.0)) == pytest.approx(0.01)
    assert lag((5.0, 0.0), (0.01, 0.0)) == pytest.approx(0.01)


def test_what_the_loop_does_between_turns_makes_it_late_too() -> None:
    seen = EventLoopLag()
    for now in (0.0, 0.2):
        seen.begin(now)
        seen.end(now + 0.1)
        seen.work(now + 0.1, now + 0.2)
    seen.begin(0.4)
    assert 0.4 - seen.since == pytest.approx(0.2)


def test_requests_of_a_turn_wait_for_those_read_before_them() -> None:
    seen = EventLoopLag()
    seen.begin(5.0)
    assert 5.3 - seen.since == pytest.approx(0.3)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=8))
def test_nothing_has_waited_less_than_no_time_or_longer_than_the_longest_turn(
    turns: list[tuple[float, float]],
) -> None:
    assert 0.0 <= lag(*turns) <= max((worked for worked, _ in turns), default=0.0) + 1e-9


def test_a_burst_is_worked_off_but_overload_keeps_the_queue_short_until_it_is_over() -> None:
    admission = AdmissionController()
    burst = (OVERLOAD_SECONDS + PATIENCE_SECONDS) / 2
    assert not refuses(admission, 0.0, burst)
    assert refuses(admission, 1.0, PATIENCE_SECONDS * 1.01)
    assert refuses(admission, 1.5, burst)
    assert not refuses(admission, 1.5, OVERLOAD_SECONDS * 0.99)
    over = 1.5 + RELIEF_SECONDS
    assert refuses(admission, over - 0.01, burst)  # which prolongs it
    assert not refuses(admission, over - 0.01 + RELIEF_SECONDS * 1.01, burst)


@pytest.mark.parametrize("smallest", [1.0, 30.0])
def test_a_slow_models_next_call_is_worth_to_wait_for(smallest: float) -> None:
    admission = AdmissionController()
    assert refuses(admission, 0.0, 2.5 * smallest, smallest)
    assert not refuses(admission, 0.0, 1.9 * smallest, smallest)


def test_the_sentence_says_what_is_too_long_and_what_to_do() -> None:
    with pytest.raises(RequestError) as caught:
        AdmissionController().check(0.0, 0.75, 0.0)
    assert str(caught.value) == (
        "The server is busy: this request would wait for 0.75 seconds, and may for 0.50 at most; ask again "
        "in a second."
    )
    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED

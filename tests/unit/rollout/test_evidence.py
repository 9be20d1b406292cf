# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from pydantic import TypeAdapter, ValidationError

from tidegate_rollout.evidence import (
    CLIENT_ERRORS,
    ERRORS,
    OVERLOAD,
    Block,
    Events,
    Evidence,
    TrackCounts,
    increase,
)
from tidegate_rollout.pairs import Sample
from tidegate_rollout.policy import RolloutPolicy

POLICY = RolloutPolicy()
EDGES = (0.05, 0.1)
ADAPTER = TypeAdapter(Evidence)
NOTHING = TrackCounts()


def test_counts_of_metrics_separate_errors_clients_and_load() -> None:
    responses = {
        "200": 80,
        "OK": 10,
        "500": 3,
        "INTERNAL": 1,
        "400": 4,
        "499": 2,
        "429": 5,
        "DEADLINE_EXCEEDED": 1,
    }
    buckets = {0.05: 60, 0.1: 90, float("inf"): 106}
    counts = TrackCounts.from_metrics(responses, buckets, EDGES)
    assert counts == TrackCounts(94, 4, client_errors=6, overloaded=6, timed=106, slow=(46, 16))


def test_increase_is_the_sum_over_pods() -> None:
    before = {"a": TrackCounts(10, 1, 2, 3, 16, (4, 1)), "b": TrackCounts(100, 0, 0, 0, 100, (0, 0))}
    after = {"a": TrackCounts(15, 2, 3, 4, 24, (6, 1)), "b": TrackCounts(110, 0, 0, 0, 110, (1, 0))}
    assert increase(before, after) == TrackCounts(15, 1, 1, 1, 18, (3, 0))


def test_increase_counts_a_restarted_pod_from_zero() -> None:
    before = {"a": TrackCounts(1000, 5, timed=1005, slow=(9, 0))}
    after = {"a": TrackCounts(20, 7, timed=27, slow=(10, 0))}
    assert increase(before, after) == after["a"]


def test_increase_ignores_pods_without_an_earlier_reading() -> None:
    counts = TrackCounts(10, 1, timed=11, slow=(1, 1))
    assert increase({}, {"new": counts}) == NOTHING
    assert increase({"gone": counts}, {}) == NOTHING


def add(block: Block, policy: RolloutPolicy = POLICY) -> Evidence:
    return Evidence.start(policy, EDGES).add(block, policy)


def block(*, room: bool = False) -> Block:
    canary = TrackCounts(50, 2, client_errors=30, overloaded=4, timed=86, slow=(9, 3))
    stable = TrackCounts(900, 5, client_errors=600, overloaded=1, timed=1506, slow=(80, 20))
    return Block(canary, stable, 15, room)


def test_evidence_counts_each_kind_of_event_apart() -> None:
    comparisons = add(block()).comparisons
    assert {name: one.events for name, one in comparisons.items()} == {
        ERRORS: Events(50, 2, 900, 5),
        "slow_50ms": Events(86, 9, 1506, 80),
        "slow_100ms": Events(86, 3, 1506, 20),
        CLIENT_ERRORS: Events(80, 30, 1500, 600),
        OVERLOAD: Events(54, 4, 901, 1),
    }


def test_load_counts_as_error_where_stable_has_room() -> None:
    assert add(block(room=True)).comparisons[ERRORS].events == Events(54, 6, 901, 6)


def test_mirrored_requests_are_not_those_of_users() -> None:
    evidence = add(block())
    assert (evidence.mirrored, evidence.canary) == (block().canary, NOTHING)
    evidence = evidence.next_step(POLICY).add(block(), POLICY)
    assert (evidence.mirrored, evidence.canary) == (block().canary, block().canary)


def test_next_step_keeps_the_evidence_against_the_canary_only() -> None:
    first = add(block())
    second = first.next_step(POLICY)
    assert (second.step, second.seconds, second.elapsed) == (1, 0, 15)
    for name, comparison in second.comparisons.items():
        assert comparison.rollout == first.comparisons[name].rollout
        assert comparison.events == Events()
        assert not any(comparison.step)


def test_evidence_survives_json() -> None:
    pair = Sample("k", "d", "yes", 0.9), Sample("k", "e", "no", 0.2)
    evidence = Evidence.start(POLICY, EDGES).add(block(), POLICY, [pair])
    evidence = evidence.record({ERRORS: (0.1, -0.2)}).next_step(POLICY)
    assert ADAPTER.validate_json(ADAPTER.dump_json(evidence)) == evidence
    with pytest.raises(ValidationError):
        ADAPTER.validate_json('{"edges": []}')


def test_evidence_of_a_long_rollout_fits_into_an_annotation() -> None:
    evidence = add(block())
    progress = dict.fromkeys((*evidence.comparisons, "disagreement"), (0.123456789012345, -0.123456789012345))
    for _ in range(2000):
        evidence = evidence.record(progress)
    assert len(ADAPTER.dump_json(evidence)) < 128 * 1024
    assert len(evidence.history) <= 240

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from tidegate.errors import ServerError
from tidegate_rollout.pairs import SCORE_EDGES, PairCounts, PairJoiner, Sample
from tidegate_rollout.policy import PredictionLimits

LIMITS = PredictionLimits(relative_tolerance=0.1, absolute_tolerance=0.5)


def pair(stable: tuple[Any, Any], canary: tuple[Any, Any], digests: str = "ab") -> tuple[Sample, Sample]:
    return Sample("k", digests[0], *stable), Sample("k", digests[1], *canary)


def test_labels_and_scores_are_counted_by_pair() -> None:
    counts = PairCounts().add(
        [
            pair(("yes", 0.52), ("yes", 0.58)),
            pair(("yes", 0.6), ("no", 0.44)),
            pair(("no", 0.1), ("no", 0.1), "aa"),
            pair(("no", None), ("no", 0.2)),
        ],
        LIMITS,
    )
    assert (counts.pairs, counts.equal, counts.labelled, counts.disagreements, counts.scored) == (
        4,
        1,
        4,
        1,
        3,
    )
    assert counts.valued == 0
    risen = {edge: count for edge, count in zip(SCORE_EDGES, counts.risen, strict=True) if count}
    fallen = {edge: count for edge, count in zip(SCORE_EDGES, counts.fallen, strict=True) if count}
    assert risen == {0.55: 1}
    assert fallen == {0.45: 1, 0.5: 1, 0.55: 1, 0.6: 1}


@pytest.mark.parametrize(
    ("stable", "canary", "differing"),
    [
        (10.0, 11.5, 0),
        (10.0, 11.6, 1),
        (-10.0, -8.4, 1),
        (0.0, 0.5, 0),
        (0.0, -0.6, 1),
        (1.0, float("nan"), 1),
    ],
)
def test_values_differ_beyond_the_tolerance(stable: float, canary: float, differing: int) -> None:
    counts = PairCounts().add([pair((None, stable), (None, canary))], LIMITS)
    assert (counts.valued, counts.differing, counts.labelled) == (1, differing, 0)


def test_differences_of_values_are_summed() -> None:
    pairs = [pair((None, 10.0), (None, 12.0)), pair((None, 5.0), (None, 2.0))]
    counts = PairCounts().add(pairs[:1], LIMITS).add(pairs[1:], LIMITS)
    assert (counts.total_difference, counts.largest_difference) == (-1.0, 3.0)


def test_hidden_values_are_compared_by_digest() -> None:
    hidden = [pair((None, None), (None, None), digests) for digests in ("aa", "ab", "bb")]
    counts = PairCounts().add(hidden, LIMITS)
    assert (counts.valued, counts.differing) == (3, 1)


def test_joiner_waits_for_the_other_track() -> None:
    joiner = PairJoiner()
    first, second = Sample("1", "a", 0, None), Sample("2", "b", 1, None)
    assert joiner.join([first], [second]) == []
    late, unmatched = Sample("1", "c", 1, None), Sample("3", "c", 1, None)
    assert joiner.join([], [late, unmatched]) == [(first, late)]
    assert joiner.join([second], []) == [(second, second)]
    assert joiner.join([first], [late]) == [(first, late)]


def test_joiner_forgets_the_oldest_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate_rollout.pairs._PENDING", 2)
    joiner = PairJoiner()
    samples = [Sample(str(number), "a", 0, None) for number in range(3)]
    assert joiner.join(samples, []) == []
    assert [stable.key for stable, _ in joiner.join([], samples)] == ["1", "2"]


@pytest.mark.parametrize("values", [["k", "d", "yes", 0.5], ["k", "d", None, None], ["k", "d", 3, 1]])
def test_sample_parses_the_servers_values(values: list[Any]) -> None:
    sample = Sample.parse(values)
    assert [sample.key, sample.digest, sample.label, sample.score] == values


@pytest.mark.parametrize(
    "values", [["k", "d", "yes"], [1, "d", None, None], ["k", "d", [], None], ["k", "d", 1, "x"]]
)
def test_sample_rejects_other_values(values: list[Any]) -> None:
    with pytest.raises(ServerError, match="expected samples"):
        Sample.parse(values)

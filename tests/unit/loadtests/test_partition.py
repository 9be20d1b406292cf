# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.campaigns import make_load_campaign
from tests.support.stub_server import make_contract
from tidegate_loadtests.partition import Partition, split_load

CONTRACT = make_contract()
LOADS: dict[str, dict[str, Any]] = {
    "constant": {"model": "constant", "rate": 50},
    "poisson": {"model": "poisson", "rate": 50},
    "ramp": {"model": "ramp", "from_rate": 0, "to_rate": 100},
    "diurnal": {"model": "diurnal", "mean_rate": 50, "amplitude": 50, "period_seconds": 10},
}


def all_starts(partitions: list[Partition], phase: int) -> list[float]:
    return sorted(arrival.intended_start for one in partitions for arrival in one.arrivals(phase))


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
@settings(deadline=None, max_examples=20)
@given(count=st.integers(1, 9), seed=st.integers(0, 2**32))
def test_partitions_add_up_to_the_load(load: dict[str, Any], count: int, seed: int) -> None:
    campaign = make_load_campaign(load, load, seed=seed)
    partitions = split_load(campaign, CONTRACT, count)
    for number, phase in enumerate(campaign.bounds()):
        starts = all_starts(partitions, number)
        assert len(starts) == campaign.phases[number].planned_requests == 500
        assert phase.start <= starts[0] <= starts[-1] <= phase.end
        sizes = [sum(1 for _ in one.arrivals(number)) for one in partitions]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_partition_is_the_same_after_its_way_to_a_worker(load: dict[str, Any]) -> None:
    for partition in split_load(make_load_campaign(load), CONTRACT, 3):
        received = Partition.model_validate_json(partition.model_dump_json())
        assert received == partition
        assert list(received.arrivals(0)) == list(partition.arrivals(0))


def test_partitions_and_phases_have_random_numbers_of_their_own() -> None:
    campaign = make_load_campaign(LOADS["poisson"], LOADS["poisson"])
    partitions = split_load(campaign, CONTRACT, 4)
    other = split_load(campaign.model_copy(update={"seed": 1}), CONTRACT, 4)
    firsts = {
        next(one.arrivals(phase)).intended_start - 10 * phase
        for one in [*partitions, *other]
        for phase in range(2)
    }
    assert len(firsts) == 16


def test_partitions_together_are_a_poisson_process() -> None:
    campaign = make_load_campaign({"model": "poisson", "rate": 3000})
    times = np.array(all_starts(split_load(campaign, CONTRACT, 10), 0))
    gaps = np.diff(times)
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05
    # The number of requests per bin has a Poisson distribution, whose variance is its mean.
    counts = np.histogram(times, bins=300, range=(0, 10))[0]
    assert abs(counts.var() / counts.mean() - 1) < 0.3


def test_users_of_each_phase_are_divided() -> None:
    campaign = make_load_campaign({"model": "closed", "users": 5}, LOADS["poisson"], connections=4)
    partitions = split_load(campaign, CONTRACT, 3)
    assert [[phase.users for phase in one.phases] for one in partitions] == [[2, 2], [2, 1], [1, 1]]
    assert [one.users for one in partitions] == [2, 2, 1]
    assert not list(partitions[0].arrivals(0))


def test_replay_is_divided_with_its_rows(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    lines = [f"{index / 10},{1 + index % 3}" for index in range(200)]
    trace.write_text("time_seconds,rows\n" + "\n".join(lines))
    campaign = make_load_campaign({"model": "replay", "trace": trace, "speed": 2}, rows_per_request=7)
    partitions = [
        Partition.model_validate_json(one.model_dump_json()) for one in split_load(campaign, CONTRACT, 2)
    ]
    arrivals = sorted(arrival for one in partitions for arrival in one.arrivals(0))
    assert [arrival.intended_start for arrival in arrivals] == pytest.approx(np.arange(200) / 20)
    assert [arrival.rows for arrival in arrivals] == [1 + index % 3 for index in range(200)]
    assert partitions[0].request_sizes == (1, 2, 3, 7)


def test_recorded_rows_are_divided_like_the_arrivals() -> None:
    rows = tuple((float(index), 0.0, 0.0) for index in range(5))
    campaign = make_load_campaign(LOADS["constant"])
    partitions = split_load(campaign, CONTRACT, 2, rows)
    assert [one.recorded_rows for one in partitions] == [rows[::2], rows[1::2]]
    assert split_load(campaign, CONTRACT, 9, rows)[8].recorded_rows == rows


def test_partition_has_no_thresholds_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret-value")
    campaign = make_load_campaign(LOADS["poisson"], target={"headers": {"Authorization": "Bearer ${TOKEN}"}})
    (partition,) = split_load(campaign, CONTRACT)
    text = partition.model_dump_json()
    assert "${TOKEN}" in text
    assert "secret-value" not in text
    assert "thresholds" not in text

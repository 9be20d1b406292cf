# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tidegate.errors import ConfigurationError
from tidegate_loadtests.scaling.traffic import arrival_rates, read_traffic, table_rates

CAMPAIGN = """
phases:
  - {name: low, duration: 3, load: {model: constant, rate: 500}}
  - {name: high, duration: 2, load: {model: constant, rate: 900}}
"""
CLOSED = "phases: [{name: users, duration: 60, load: {model: closed, users: 4}}]"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("campaign.yaml", CAMPAIGN, [500, 500, 500, 900, 900]),
        ("rates.csv", "second,rate\n10,5\n12,7\n", [5, 5, 7, 7]),
        ("rates.csv", "second,rate,note\n0,5.5,a\n1,7,b\n", [5.5, 7]),
        ("arrivals.csv", "time_seconds\n3.0\n3.5\n5.0\n", [2, 0, 1]),
    ],
)
def test_read_traffic_known_file_is_rate_per_second(
    tmp_path: Path, name: str, text: str, expected: list[float]
) -> None:
    assert read_traffic(write(tmp_path, name, text)).tolist() == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("c.yaml", CLOSED, "phase 'users' is a closed loop"),
        ("r.csv", "second,load\n0,5\n", "expected the columns 'second' and 'rate'"),
        ("r.csv", "second,rate\n0,5\n", "at least two lines, received 1"),
        ("r.csv", "second,rate\n0,5\n0,6\n", "ascending numbers in 'second'"),
        ("r.csv", "second,rate\n0,5\n1,-6\n", "at least 0 in 'rate'"),
        ("r.csv", "second,rate\n0,5\n1,many\n", "a number in every line"),
        ("r.csv", "second,rate\n0,5\n9999999,6\n", "at most 2,678,400 s"),
        ("r.txt", "", "ends with .csv or .parquet"),
    ],
)
def test_read_traffic_other_file_is_rejected(tmp_path: Path, name: str, text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        read_traffic(write(tmp_path, name, text))


@given(hnp.arrays(float, st.integers(1, 50), elements=st.floats(0, 1000)))
def test_arrival_rates_any_arrivals_are_all_counted(arrivals: np.ndarray) -> None:
    rates = arrival_rates(np.sort(arrivals))
    assert rates.sum() == len(arrivals)


@given(st.lists(st.integers(1, 100), min_size=2, max_size=20))
def test_table_rates_any_steps_hold_until_the_next(steps: list[int]) -> None:
    second = np.array([0, *np.cumsum(steps)[:-1]], dtype=float)
    rates = table_rates(second, np.arange(len(steps), dtype=float))
    durations = [*steps[:-1], steps[-2]]
    assert np.bincount(rates.astype(int)).tolist() == durations

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest
from tidegate_loadtests.plan import LoadTest, Protocol

from tidegate.errors import ConfigurationError
from tidegate.settings import load_yaml

GOOD = """\
rate: 200
connections: 16
duration: 18
protocols: {v1: 2, v2-binary: 1}
objective:
  p99_ms: 50
  rps: 190
"""


def read(folder: Path, text: str) -> LoadTest:
    file = folder / "loadtest.yaml"
    file.write_text(text)
    return load_yaml(file, LoadTest)


def test_a_plan_is_read_from_yaml(tmp_path: Path) -> None:
    plan = read(tmp_path, GOOD)
    assert plan.protocols == {Protocol.V1: 2.0, Protocol.V2_BINARY: 1.0}
    assert (plan.measured, plan.planned, plan.concurrency) == (3600, 4000, 16)
    assert plan.objective.failure_ratio == 0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("connections: 16\n", "", "'connections' belongs to 'rate'"),
        ("rate: 200", "users: 4", "'connections' belongs to 'rate'"),
        ("rate: 200\nconnections: 16\n", "", "give either 'rate' (open loop) or 'users'"),
        ("rate: 200", "rate: 200\nusers: 4", "give either 'rate' (open loop) or 'users'"),
        (
            "duration: 18",
            "duration: 4",
            "makes 800 requests, too few to decide the objective: expected at least 1000",
        ),
        ("rps: 190", "rps: 200", "must be below 'rate' (200)"),
        ("rate: 200", "rate: -1", "loadtest.yaml:1: field 'rate'"),
        ("rate: 200", "rate: .inf", "loadtest.yaml:1: field 'rate'"),
        ("v1: 2", "v3: 2", "loadtest.yaml:4: field 'protocols"),
        ("p99_ms", "p98_ms", "loadtest.yaml:6: unknown field 'objective.p98_ms'"),
    ],
)
def test_a_plan_that_cannot_be_run_or_decided_is_refused(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path, GOOD.replace(old, new))
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("objective", "fewest"),
    [({}, 20), ({"p50_ms": 1}, 20), ({"p95_ms": 1}, 200), ({"p50_ms": 1, "p99_ms": 1}, 1000)],
)
def test_ten_requests_must_lie_beyond_the_highest_percentile(
    objective: dict[str, float], fewest: int
) -> None:
    assert LoadTest(users=1, duration=1, objective=objective).objective.fewest_requests == fewest

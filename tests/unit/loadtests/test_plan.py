# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from tidegate.errors import ConfigurationError
from tidegate.protocol.constants import Protocol
from tidegate.settings import load_yaml
from tidegate_loadtests.plan import LoadTest

VALID = """\
rate: 200
connections: 16
duration: 18
protocols: {v1: 2, v2-binary: 1}
thresholds:
  max_p99_ms: 50
  min_goodput: 190
"""


def read_plan(folder: Path, text: str) -> LoadTest:
    file = folder / "loadtest.yaml"
    file.write_text(text)
    return load_yaml(file, LoadTest)


def test_plan_is_read_from_yaml(tmp_path: Path) -> None:
    plan = read_plan(tmp_path, VALID)
    assert plan.protocols == {Protocol.V1: 2.0, Protocol.V2_BINARY: 1.0}
    assert all(isinstance(protocol, Protocol) for protocol in plan.protocols)
    assert (plan.measured_requests, plan.planned_requests, plan.concurrency) == (3600, 4000, 16)
    assert plan.thresholds.max_failure_ratio == 0
    assert LoadTest.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("connections: 16\n", "", ["'connections' belongs to 'rate'"]),
        ("rate: 200", "users: 4", ["'connections' belongs to 'rate'"]),
        ("rate: 200\nconnections: 16\n", "", ["give either 'rate' (open loop) or 'users'"]),
        ("rate: 200", "rate: 200\nusers: 4", ["give either 'rate' (open loop) or 'users'"]),
        ("duration: 18", "duration: 4", [":3: field 'duration'", "800", "at least 1000", "raise"]),
        ("goodput: 190", "goodput: 200", ["'thresholds.min_goodput'", "less than 'rate' (200)", "200:"]),
        ("rate: 200", "rate: -1", ["loadtest.yaml:1: field 'rate'", "-1"]),
        ("rate: 200", "rate: .inf", ["loadtest.yaml:1: field 'rate'", "inf"]),
        ("v1: 2", "v3: 2", ["loadtest.yaml:4: field 'protocols", "'v1'", "'v2-binary'", "'v3'"]),
        ("v1: 2", "grpc: 2", ["loadtest.yaml:4: field 'protocols", "'v1'", "'v2-binary'", "'grpc'"]),
        ("max_p99_ms", "max_p98_ms", ["loadtest.yaml:6: unknown field 'thresholds.max_p98_ms'"]),
    ],
)
def test_plan_that_cannot_be_decided_is_rejected(
    tmp_path: Path, old: str, new: str, expected: list[str]
) -> None:
    assert old in VALID
    with pytest.raises(ConfigurationError) as error:
        read_plan(tmp_path, VALID.replace(old, new))
    for text in expected:
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("thresholds", "min_requests"),
    [({}, 20), ({"max_p50_ms": 1}, 20), ({"max_p95_ms": 1}, 200), ({"max_p50_ms": 1, "max_p99_ms": 1}, 1000)],
)
def test_min_requests_puts_ten_beyond_the_highest_percentile(
    thresholds: dict[str, float], min_requests: int
) -> None:
    plan = LoadTest(users=1, duration=1, thresholds=thresholds)
    assert plan.thresholds.min_requests == min_requests

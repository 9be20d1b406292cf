# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from tidegate.errors import ConfigurationError
from tidegate.protocol.constants import Protocol
from tidegate.settings import load_yaml
from tidegate_loadtests.campaign import Campaign, Thresholds

VALID = """\
target:
  url: http://models.example
  headers: {Host: a.example, Authorization: "Bearer ${TOKEN}"}
  watch: {namespace: models, inference_service: iris}
protocols: {v1: 2, grpc: 1}
connections: 16
phases:
  - name: warm-up
    duration: 10
    judged: false
    load: {model: poisson, rate: 100}
  - name: step
    duration: 60
    load: {model: steps, rates: [100, 400], step_seconds: 30}
    thresholds: {max_p99_ms: 50, min_goodput: 200}
  - name: users
    duration: 20
    load: {model: closed, users: 40}
scaling:
  max_reaction_seconds: 30
  max_recovery_seconds: 90
  min_replicas: 1
  max_replicas: 4
"""


def read_campaign(folder: Path, text: str) -> Campaign:
    file = folder / "campaign.yaml"
    file.write_text(text)
    return load_yaml(file, Campaign)


def test_campaign_is_read_from_yaml(tmp_path: Path) -> None:
    campaign = read_campaign(tmp_path, VALID)
    assert campaign.protocols == {Protocol.V1: 2.0, Protocol.GRPC: 1.0}
    assert [phase.planned_requests for phase in campaign.phases] == [1000, 15_000, 0]
    assert (campaign.planned_requests, campaign.duration_seconds, campaign.concurrency) == (16_000, 90, 40)
    assert campaign.phases[1].thresholds.max_failure_ratio == 0
    assert not campaign.open_loop
    assert Campaign.model_validate_json(campaign.model_dump_json()) == campaign


def test_bounds_follow_each_other_from_zero(tmp_path: Path) -> None:
    bounds = read_campaign(tmp_path, VALID).bounds()
    assert [(one.name, one.start, one.end, one.judged) for one in bounds] == [
        ("warm-up", 0, 10, False),
        ("step", 10, 70, True),
        ("users", 70, 90, True),
    ]
    assert bounds[1].thresholds.max_p99_ms == 50
    assert bounds[1].duration == 60


@pytest.mark.parametrize(
    ("second", "rate", "phase"),
    [
        (-1, 0, "warm-up"),
        (0, 100, "warm-up"),
        (39.9, 100, "step"),
        (40, 400, "step"),
        (70, None, "users"),
        (90, 0, "users"),
    ],
)
def test_rate_at_a_second_is_that_of_its_phase(
    tmp_path: Path, second: float, rate: float | None, phase: str
) -> None:
    campaign = read_campaign(tmp_path, VALID)
    assert campaign.rate_at(second) == rate
    assert campaign.phase_at(second).name == phase


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "duration: 60",
            "duration: 59",
            [":13: field 'phases.1.duration'", "2 steps of 30 s", "received 59"],
        ),
        ("[100, 400]", "[0, 15]", [":13: field 'phases.1.duration'", "makes 450", "at least 459", "raise"]),
        (
            "goodput: 200",
            "goodput: 250",
            [":15: field 'phases.1.thresholds.min_goodput'", "(250)", "in flight"],
        ),
        ("rate: 100", "rate: .inf", [":11: field 'phases.0.load", "rate", "inf"]),
        ("model: poisson", "model: uniform", [":11: field 'phases.0.load'", "'poisson'", "'closed'"]),
        ("name: users", "name: step", [":16: field 'phases.2.name'", "'step' twice"]),
        (
            "    judged: false",
            "    judged: false\n    thresholds: {max_p50_ms: 1}",
            ["'phases.0.thresholds'", "not judged"],
        ),
        ("v1: 2", "v3: 2", [":5: field 'protocols", "'v1'", "'grpc'", "'v3'"]),
        ("max_p99_ms", "max_p98_ms", [":15: unknown field 'phases.1.thresholds.max_p98_ms'"]),
        ("Bearer ${TOKEN}", "Bearer 123", [":3: field 'target.headers.Authorization'", "${NAME}"]),
        ("url: http://", "url: ", [":2: field 'target.url'", "received 'models.example'"]),
        ("inference_service: iris", "inference_service: iris, deployment: iris", [":4:", "either"]),
        (
            "  watch: {namespace: models, inference_service: iris}\n",
            "",
            ["field 'scaling'", "'target.watch'"],
        ),
        ("max_p99_ms: 50, ", "", ["'scaling.max_recovery_seconds'", "latency threshold"]),
        ("min_replicas: 1", "min_replicas: 5", ["'scaling.min_replicas'", "(4)", "received 5"]),
        ("max_replicas: 4", "max_replica_seconds_ratio: 1.5", ["ratio'", "expected 'sizes'"]),
    ],
)
def test_campaign_that_cannot_be_decided_is_rejected(
    tmp_path: Path, old: str, new: str, expected: list[str]
) -> None:
    assert old in VALID
    with pytest.raises(ConfigurationError) as error:
        read_campaign(tmp_path, VALID.replace(old, new))
    for text in expected:
        assert text in str(error.value)


def test_campaign_of_warm_ups_only_is_rejected(tmp_path: Path) -> None:
    text = "phases: [{name: a, duration: 1, judged: false, load: {model: closed, users: 1}}]"
    with pytest.raises(ConfigurationError, match="at least one phase that is judged"):
        read_campaign(tmp_path, text)


def test_paths_are_relative_to_the_campaigns_file(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("time_seconds\n" + "\n".join(f"{i / 10}" for i in range(100)))
    text = (
        "payload: {file: rows.csv}\n"
        "phases: [{name: a, duration: 5, load: {model: replay, trace: trace.csv}}]\n"
    )
    campaign = read_campaign(tmp_path, text)
    assert campaign.payload is not None
    assert campaign.payload.file == tmp_path / "rows.csv"
    assert campaign.planned_requests == 50


def test_replay_without_its_trace_is_rejected_with_its_place(tmp_path: Path) -> None:
    text = "phases:\n- {name: a, duration: 5, load: {model: replay, trace: missing.csv}}\n"
    with pytest.raises(ConfigurationError) as error:
        read_campaign(tmp_path, text)
    for part in (":2: field 'phases.0.load.trace'", "missing.csv cannot be read"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("thresholds", "min_requests"),
    [({}, 1), ({"max_p50_ms": 1}, 7), ({"max_p95_ms": 1}, 90), ({"max_p50_ms": 1, "max_p99_ms": 1}, 459)],
)
def test_min_requests_proves_the_highest_percentile(thresholds: dict[str, float], min_requests: int) -> None:
    assert Thresholds(**thresholds).min_requests == min_requests

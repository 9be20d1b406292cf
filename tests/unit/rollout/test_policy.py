# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from tidegate.errors import ConfigurationError
from tidegate.settings import load_yaml
from tidegate_rollout.commands import app
from tidegate_rollout.policy import RolloutPolicy

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "rollout" / "policy.schema.json"
EXAMPLE = ROOT / "examples" / "breast-cancer" / "rollout.yaml"


def load(tmp_path: Path, text: str) -> RolloutPolicy:
    file = tmp_path / "rollout.yaml"
    file.write_text(text)
    return load_yaml(file, RolloutPolicy)


def test_policy_file_replaces_defaults(tmp_path: Path) -> None:
    policy = load(tmp_path, "steps: [{mirror: 3}, {weight: 1}, {weight: 50}]\nlatency: null\nalpha: 0.001\n")
    assert [str(step) for step in policy.steps] == ["mirror 3 %", "weight 1 %", "weight 50 %"]
    assert policy.latency is None
    assert policy.alpha == 0.001
    assert policy.beta == RolloutPolicy().beta


def test_default_policy_mirrors_first_and_holds() -> None:
    policy = RolloutPolicy()
    assert [str(step) for step in policy.steps] == ["mirror 10 %", "weight 5 %", "weight 25 %", "weight 50 %"]
    assert policy.on_insufficient == "hold"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: []", "field 'steps'"),
        ("steps: [{weight: 5, mirror: 5}]", "field 'steps.0': give either 'mirror' or 'weight'"),
        ("steps: [{weight: 5}, {mirror: 5}]", "field 'steps.1': only the first step can mirror."),
        (
            "steps: [{weight: 25}, {weight: 5}]",
            "field 'steps.1.weight': expected a weight above 25, the previous step's, received 5.",
        ),
        ("steps: [{weight: 100}]", "field 'steps.0.weight': Input should be less than 100"),
        (
            "max_seconds: 30",
            "field 'max_seconds': expected at least min_seconds and block_seconds, received 30.",
        ),
        ("latency: {unacceptable_odds_ratio: 1.3}", "field 'latency.unacceptable_odds_ratio': expected more"),
        ("{expect: changed, predictions: null}", "field 'expect': 'changed' needs predictions"),
        ("alpha: 0", "field 'alpha': Input should be greater than 0"),
        ("latency: {threshold_ms: .inf}", "field 'latency.threshold_ms'"),
        ("weights: [5]", "unknown field 'weights'."),
    ],
)
def test_policy_error_names_line_field_and_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path / 'rollout.yaml'}:1: {message}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("threshold", "edges"), [(1, (0.01, 0.1)), (10, (0.01, 0.1)), (60, (0.01, 0.1, 0.5)), (500, (0.1, 0.5))]
)
def test_latency_edges_are_the_objective_and_neighbours(threshold: float, edges: tuple[float, ...]) -> None:
    policy = RolloutPolicy.model_validate({"latency": {"threshold_ms": threshold}})
    assert policy.latency_edges([0.5, 0.01, 0.1, float("inf")]) == edges


def test_latency_edges_beyond_the_histogram_are_rejected() -> None:
    policy = RolloutPolicy.model_validate({"latency": {"threshold_ms": 501}})
    with pytest.raises(ConfigurationError, match="expected at most 500, the largest upper bound"):
        policy.latency_edges([0.5, 0.01])
    assert RolloutPolicy(latency=None).latency_edges([0.5]) == ()


def test_page_has_the_default_policy() -> None:
    block = (ROOT / "docs" / "rollout.md").read_text().split("```yaml\nsteps:")[1].split("```")[0]
    assert RolloutPolicy.model_validate(yaml.safe_load(f"steps:{block}")) == RolloutPolicy()


def test_schema_is_that_of_the_model() -> None:
    """Write it with ``tidegate rollout schema > rollout/policy.schema.json``."""
    expected = RolloutPolicy.model_json_schema()
    assert json.loads(SCHEMA.read_text()) == expected
    assert json.loads(CliRunner().invoke(app, ["schema"]).output) == expected


def test_example_keeps_the_schema_and_is_valid() -> None:
    text = EXAMPLE.read_text()
    jsonschema.validate(yaml.safe_load(text), json.loads(SCHEMA.read_text()))
    assert (EXAMPLE.parent / text.splitlines()[0].partition("$schema=")[2]).resolve() == SCHEMA
    assert load_yaml(EXAMPLE, RolloutPolicy).latency is not None

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.charts.chart import render
from tests.support.rollout_world import NEW, OLD, OLDER, World
from tidegate.errors import ConfigurationError
from tidegate_rollout.plan import (
    RolloutValues,
    baseline_of,
    parse_digest,
    plan_abort,
    plan_rehearsal,
    plan_rollout,
    policy_by_replicas,
)
from tidegate_rollout.policy import RolloutPolicy, Step

BASELINE = RolloutValues(
    digest=OLD,
    previous=(OLDER,),
    canary_digest="",
    weight=0,
    mirror_percent=0,
    split_by_replicas=False,
    canary_min_replicas=None,
    min_replicas=2,
)


def by_name(steps):
    return {step.name: step.values for step in steps}


def test_plan_has_the_replicas_before_each_weight():
    steps = plan_rollout(BASELINE, NEW, RolloutPolicy(), replicas=10)
    assert [(step.name, step.measured) for step in steps] == [
        ("start", False),
        ("mirror-10", True),
        ("weight-5", True),
        ("size-25", False),
        ("weight-25", True),
        ("size-50", False),
        ("weight-50", True),
        ("size-100", False),
        ("weight-100", False),
        ("promote", False),
        ("return", False),
        ("remove", False),
    ]
    values = by_name(steps)
    assert [values[f"size-{weight}"].canary_min_replicas for weight in (25, 50, 100)] == [3, 5, 10]
    assert [values[f"size-{weight}"].weight for weight in (25, 50, 100)] == [5, 25, 50]


def test_plan_mirrors_only_in_its_step():
    steps = plan_rollout(BASELINE, NEW, RolloutPolicy(), replicas=2)
    assert {step.name: step.values.mirror_percent for step in steps if step.values.mirror_percent} == {
        "mirror-10": 10
    }


def test_promotion_keeps_the_replicas_of_a_track_without_requests():
    values = by_name(plan_rollout(BASELINE, NEW, RolloutPolicy(), replicas=6))
    everything = BASELINE.changed(canary_digest=NEW, canary_min_replicas=6, min_replicas=6, weight=100)
    assert values["weight-100"] == everything
    assert values["promote"] == everything.changed(digest=NEW, previous=(OLD, OLDER))
    assert values["return"] == values["promote"].changed(weight=0)
    assert values["remove"] == BASELINE.changed(digest=NEW, previous=(OLD, OLDER))


def test_rollback_to_a_previous_digest_lists_it_once():
    values = by_name(plan_rollout(BASELINE, OLDER, RolloutPolicy(), replicas=2))
    assert values["remove"].previous == (OLD,)


def test_abort_returns_the_traffic_before_it_removes_the_canary():
    current = BASELINE.changed(canary_digest=NEW, weight=50, canary_min_replicas=4)
    traffic, removal = plan_abort(BASELINE, current)
    assert traffic.values == current.changed(weight=0)
    assert traffic.settles
    assert removal.values == BASELINE


def test_rehearsal_has_the_own_digest_and_no_promotion():
    steps = plan_rehearsal(BASELINE, RolloutPolicy(), replicas=2)
    assert {step.values.digest for step in steps} == {OLD}
    assert {step.values.canary_digest for step in steps[:-1]} == {OLD}
    assert [step.name for step in steps][-2:] == ["return", "remove"]
    assert steps[-1].values == BASELINE


def test_baseline_accepts_a_canary_of_the_same_digest_only():
    existing = BASELINE.changed(canary_digest=NEW, weight=20)
    assert baseline_of(existing, NEW) == BASELINE
    with pytest.raises(ConfigurationError, match="already has a canary"):
        baseline_of(existing, OLDER)


def test_values_survive_the_chart_values():
    world = World()
    assert RolloutValues.parse(world.values) == BASELINE
    with pytest.raises(ConfigurationError, match=r"upgrade the release with this version's chart"):
        RolloutValues.parse({"model": {"digest": OLD, "previous": []}, "canary": {"digest": ""}})


def test_digest_may_have_a_prefix():
    assert parse_digest(f"sha256:{OLD}") == OLD
    with pytest.raises(ConfigurationError, match="expected 64 digits"):
        parse_digest("abc")


def test_plan_without_a_gateway_counts_replicas():
    policy = policy_by_replicas(RolloutPolicy(), replicas=4)
    assert [str(step) for step in policy.steps] == ["weight 5 %", "weight 50 %"]
    steps = plan_rollout(BASELINE, NEW, policy, 4, by_replicas=True)
    assert [(s.name, s.values.canary_min_replicas, s.values.split_by_replicas) for s in steps] == [
        ("start", 1, False),
        ("weight-5", 1, True),
        ("weight-50", 4, True),
        ("promote", 4, True),
        ("return", 4, False),
        ("remove", None, False),
    ]
    assert {step.values.weight for step in steps} == {0}
    assert by_name(steps)["promote"].min_replicas == 4
    with pytest.raises(ConfigurationError, match="only mirrors"):
        policy_by_replicas(RolloutPolicy(steps=(Step(mirror=10),)), replicas=4)


@pytest.mark.parametrize("by_replicas", [False, True])
def test_chart_accepts_the_values_of_every_step(by_replicas):
    base = {
        "model": {"uri": "s3://models/iris"},
        "image": {"repository": "registry.example.com/tidegate/serving"},
        "service": {"enabled": by_replicas},
        "route": {
            "enabled": not by_replicas,
            "parentRefs": [{"name": "public"}],
            "hostnames": ["iris.models.example.com"],
        },
    }
    policy = RolloutPolicy(steps=(Step(mirror=10), Step(weight=50)))
    if by_replicas:
        policy = policy_by_replicas(policy, 3)
    for step in plan_rollout(BASELINE, NEW, policy, 3, by_replicas=by_replicas):
        values = step.values.chart_values()
        release = {**base, **values, "model": {**base["model"], **values["model"]}}
        names = {item["metadata"]["name"] for item in render(release) if item["kind"] == "InferenceService"}
        assert names == ({"demo", "demo-canary"} if step.values.canary_digest else {"demo"}), step.name

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import yaml

from tests.support.rollout_world import NEW, OLD, POLICY, FakeTrack, World
from tidegate.console import OutputFormat
from tidegate.errors import ConfigurationError, ExitCode, GateNotPassedError, NotFoundError, ServerError
from tidegate_rollout import commands
from tidegate_rollout.helm import Helm

FAST = "{steps: [{mirror: 10}], settle_seconds: 0, min_seconds: 10, block_seconds: 10, min_requests: 10,"


@pytest.fixture
def use(monkeypatch):
    """Connect the commands to a world, each time as another process."""

    def connect_to(world):
        monkeypatch.setattr(commands, "connect", lambda *_: world.session())
        return world

    return connect_to


@pytest.fixture
def policy(tmp_path):
    file = tmp_path / "rollout.yaml"
    file.write_text(f"{FAST} max_seconds: 60, predictions: null, latency: null}}")
    return file


def test_start_writes_the_report_and_prints_json(use, policy, tmp_path, capsys):
    use(World(rate=4000))
    commands.start("iris", NEW, policy=policy, out=tmp_path / "out", output=OutputFormat.JSON)
    printed = json.loads(capsys.readouterr().out)
    assert printed["result"] == "promoted"
    assert json.loads((tmp_path / "out" / "rollout.json").read_text()) == printed
    assert "<svg" in (tmp_path / "out" / "rollout.html").read_text()


def test_stopped_rollout_exits_with_the_gates_code(use, policy, capsys):
    use(World(rate=4000, canary=FakeTrack(error_ratio=0.2)))
    with pytest.raises(
        GateNotPassedError, match=r"^The rollout of iris is aborted: server errors: .*\.$"
    ) as raised:
        commands.start("iris", NEW, policy=policy)
    assert raised.value.exit_code is ExitCode.GATE_NOT_PASSED
    printed = capsys.readouterr().out
    assert "mirror-10" in printed
    assert "aborted" in printed


def test_abort_of_a_held_rollout_succeeds(use, policy, capsys):
    use(World(rate=0))
    with pytest.raises(GateNotPassedError, match="is held: too little evidence"):
        commands.start("iris", NEW, policy=policy)
    commands.status("iris", output=OutputFormat.JSON)
    commands.abort("iris")
    with pytest.raises(ConfigurationError, match="no rollout in progress to promote"):
        commands.promote("iris")


def test_promote_of_a_held_rollout_succeeds(use, policy):
    world = use(World(rate=0))
    with pytest.raises(GateNotPassedError):
        commands.start("iris", NEW, policy=policy)
    commands.promote("iris")
    assert world.rollout_values.digest == NEW


def test_rehearsal_prints_the_false_alarms(use, policy, capsys):
    use(World(rate=4000))
    commands.rehearse("iris", policy=policy, rounds=3)
    line = "The gate would have stopped 0 of 3 rounds, and held 0; 3 verdicts passed."
    assert line in capsys.readouterr().out


def test_status_without_a_rollout_is_an_error(use):
    use(World())
    with pytest.raises(NotFoundError, match="iris has had no rollout"):
        commands.status("iris")


def test_plan_reads_the_release(use, tmp_path, capsys):
    world = use(World())
    commands.plan("iris", f"sha256:{NEW}", values_out=tmp_path / "steps", output=OutputFormat.JSON)
    document = json.loads(capsys.readouterr().out)
    files = sorted((tmp_path / "steps").iterdir())
    assert [file.stem[3:] for file in files] == [step["name"] for step in document["steps"]]
    assert [yaml.safe_load(file.read_text()) for file in files] == [
        step["values"] for step in document["steps"]
    ]
    assert (
        files[1]
        .read_text()
        .startswith("# Mirror 10 % of the requests to the canary. The step ends with a ver")
    )
    assert world.upgrades == []


def test_plan_of_values_files_needs_no_cluster(monkeypatch, tmp_path, capsys):
    file = tmp_path / "values.yaml"
    file.write_text(f"model: {{digest: {OLD}}}\nautoscaling: {{minReplicas: 3}}\n")
    monkeypatch.setattr(Helm, "verify_version", lambda self: None)
    monkeypatch.setattr(Helm, "default_values", lambda self: World().values)
    commands.plan("iris", NEW, values=[file])
    printed = capsys.readouterr().out
    assert "canary.weight=50" in printed
    assert NEW not in printed


def test_plan_of_a_failed_release_is_an_error(use):
    world = use(World())
    world.status = "failed"
    with pytest.raises(ConfigurationError, match="is pending or has failed"):
        commands.plan("iris", NEW, replicas=2)


def test_policy_defaults_without_a_file(policy):
    assert commands.load_policy(None).steps[0].mirror == 10
    assert commands.load_policy(policy).steps != POLICY.steps


def route(weight=0, mirror=None):
    backends = [
        {"name": "iris-predictor", "weight": 100 - weight},
        {"name": "iris-canary-predictor", "weight": weight},
    ]
    filters = [] if mirror is None else [{"type": "RequestMirror", "requestMirror": {"percent": mirror}}]
    conditions = [{"type": "Accepted", "status": "True", "observedGeneration": 1}]
    return {
        "metadata": {"generation": 1},
        "spec": {"rules": [{"backendRefs": backends, "filters": filters}]},
        "status": {"parents": [{"parentRef": {"name": "gateway"}, "conditions": conditions}]},
    }


@pytest.fixture
def present(use):
    """Use a release whose pipeline has given the canary a weight or a mirror."""

    def of(weight=0, mirror=None, **world):
        world = use(World(rate=4000, **world))
        world.values["canary"] |= {"digest": NEW, "weight": weight, "mirrorPercent": mirror or 0}
        world.route = route(weight, mirror)
        return world

    return of


@pytest.mark.parametrize("traffic", [{"weight": 25}, {"mirror": 10}])
def test_verdict_passes_a_good_canary_and_changes_nothing(present, policy, traffic, capsys):
    world = present(**traffic)
    commands.verdict("iris", policy=policy, output=OutputFormat.JSON)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["verdict"], printed["canary_digest"]) == ("pass", NEW)
    assert world.upgrades == []
    assert world.leases.objects == {}


def test_verdict_compares_predictions_of_mirrored_requests_only(present, tmp_path, capsys):
    policy = tmp_path / "rollout.yaml"
    policy.write_text(f"{FAST} max_seconds: 60, latency: null}}")
    checks = {}
    for traffic in ({"weight": 25}, {"mirror": 10}):
        present(**traffic)
        commands.verdict("iris", policy=policy, output=OutputFormat.JSON)
        names = {check["name"] for check in json.loads(capsys.readouterr().out)["checks"]}
        checks[next(iter(traffic))] = "disagreement" in names
    assert checks == {"weight": False, "mirror": True}


def test_verdict_stops_a_bad_canary(present, policy):
    present(weight=25, canary=FakeTrack(error_ratio=0.2))
    with pytest.raises(GateNotPassedError, match="The verdict about iris is fail: server errors"):
        commands.verdict("iris", policy=policy)


def test_verdict_without_requests_to_the_canary_is_an_error(present, policy):
    present()
    with pytest.raises(ConfigurationError, match="receives 0 % of the requests"):
        commands.verdict("iris", policy=policy)


def test_verdict_by_replicas_without_a_route(present, policy):
    world = present()
    world.route = None
    world.values["canary"] |= {"splitByReplicas": True, "minReplicas": 2}
    commands.verdict("iris", policy=policy)


def test_verdict_of_pods_that_never_start_is_an_error(present, policy):
    present(weight=25, canary=FakeTrack(starts=False))
    with pytest.raises(ServerError, match="is not ready for a rollout: canary: 0 of 2 pods are new"):
        commands.verdict("iris", policy=policy)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.errors import ConfigurationError, ExitCode, GateNotPassedError, ServerError, TidegateError
from tidegate_training import submit
from tidegate_training.submit import (
    Outcome,
    determine_outcome,
    find_reference,
    follow,
    job_error,
    job_name,
    reject_if_active,
)
from tidegate_training.termination import format_result

Object = dict[str, Any]


def make_job(**conditions: str) -> Object:
    listed = [{"type": kind, "status": "True", "message": message} for kind, message in conditions.items()]
    return {"metadata": {"name": "train-1"}, "status": {"conditions": listed}}


def make_pod(
    name: str = "train-1-a", phase: str = "Failed", code: int | None = None, message: str = ""
) -> Object:
    containers = (
        []
        if code is None
        else [{"name": "train", "state": {"terminated": {"exitCode": code, "message": message}}}]
    )
    return {"metadata": {"name": name}, "status": {"phase": phase, "containerStatuses": containers}}


def with_container(pod: Object, name: str, code: int) -> Object:
    """Return the pod with another container that has ended."""
    added = {"name": name, "state": {"terminated": {"exitCode": code, "message": "ended"}}}
    pod["status"]["containerStatuses"].append(added)
    return pod


def result_of(name: str) -> str:
    """Return the line that a run in the pod ``name`` writes, with a reference made of the pod's name."""
    return format_result(f"s3://m/{name}@sha256:1", "1", {"test": {"f1": 0.5}})


@pytest.mark.parametrize(
    ("job", "pods", "outcome"),
    [
        (make_job(), [make_pod(phase="Running")], None),
        (make_job(SuccessCriteriaMet=""), [make_pod(phase="Succeeded")], None),
        (make_job(Complete=""), [make_pod(phase="Succeeded", code=0)], Outcome(True, 0, "")),
        (
            make_job(Complete=""),
            [make_pod(code=1, message="lost"), make_pod(phase="Succeeded", code=0, message='{"a":1}\n')],
            Outcome(True, 0, '{"a":1}'),
        ),
        (make_job(Complete=""), [], Outcome(True, 0, "")),
        (
            make_job(Complete=""),
            [with_container(make_pod(phase="Succeeded", code=0, message='{"a":1}\n'), "vector", code=1)],
            Outcome(True, 0, '{"a":1}'),
        ),
        (
            make_job(Failed="Container train failed."),
            [make_pod(code=1, message="lost"), make_pod(code=3, message="reading data\nerror: Too low.\n")],
            Outcome(False, 3, "Too low."),
        ),
        (
            make_job(Failed="Container train failed."),
            [make_pod(code=2, message="error: No such column.\n"), make_pod(code=143, message="terminated")],
            Outcome(False, 2, "No such column."),
        ),
        (make_job(Failed="Deadline was exceeded."), [], Outcome(False, 1, "Deadline was exceeded.")),
        (
            make_job(Failed="Container failed."),
            [make_pod(code=137)],
            Outcome(False, 137, "Container failed."),
        ),
    ],
)
def test_determine_outcome_reads_conditions_and_the_last_pod(
    job: Object, pods: list[Object], outcome: Outcome | None
) -> None:
    assert determine_outcome(job, pods) == outcome


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (ExitCode.BAD_INPUT, ConfigurationError),
        (ExitCode.GATE_NOT_PASSED, GateNotPassedError),
        (ExitCode.CRASH, ServerError),
        (137, ServerError),
    ],
)
def test_job_error_has_the_exit_code_of_the_run(code: int, error: type[TidegateError]) -> None:
    raised = job_error("train-1", Outcome(False, code, "Too low."))
    assert type(raised) is error
    assert str(raised) == "The Job train-1 failed: Too low."


@pytest.mark.parametrize(
    ("message", "log", "reference"),
    [
        (result_of("a"), ["bye"], "s3://m/a@sha256:1"),
        (result_of("a"), [result_of("b")], "s3://m/a@sha256:1"),
        ("", ["x", result_of("a"), result_of("b"), "bye"], "s3://m/b@sha256:1"),
        (result_of("a")[:40], [result_of("b"), "bye"], "s3://m/b@sha256:1"),
    ],
)
def test_find_reference_prefers_the_termination_message(message: str, log: list[str], reference: str) -> None:
    assert find_reference("train-1", Outcome(True, 0, message), log) == reference


def test_find_reference_without_result_is_an_error() -> None:
    with pytest.raises(ServerError, match=r"train-1 is complete.*look it up in the store's channel"):
        find_reference("train-1", Outcome(True, 0, ""), ["Reference: s3://m/a@sha256:1"])


def test_job_name_is_that_of_the_manifest_s_job() -> None:
    manifest = "kind: ConfigMap\n---\nkind: Job\nmetadata: {name: train-1}\nspec: {}\n---\n"
    assert job_name(manifest, "train") == "train-1"


def test_job_name_of_a_search_is_that_of_its_shards() -> None:
    template = "template: {spec: {containers: [{name: train, args: [--shard, '0']}]}}"
    manifest = f"kind: Job\nmetadata: {{name: train-1}}\nspec: {{completionMode: Indexed, {template}}}\n"
    assert job_name(manifest, "train") == "train-1"


@pytest.mark.parametrize(
    "manifest",
    [
        "kind: CronJob\n",
        "kind: Job\nmetadata: {name: a}\nspec: {completionMode: Indexed}\n",
    ],
)
def test_job_name_of_a_schedule_or_sweep_is_an_error(manifest: str) -> None:
    with pytest.raises(ConfigurationError, match=r"release train .* with helm itself"):
        job_name(manifest, "train")


class FakeCluster:
    """A cluster whose Job passes through the given states, each a Job and its pods."""

    def __init__(self, *states: tuple[Object | None, list[Object]]) -> None:
        self._states = iter(states)
        self.job: Object | None = None
        self._pods: list[Object] = []

    def objects(self, group: str, namespace: str, kind: str) -> list[Object]:
        assert (group, namespace, kind) == ("batch/v1", "models", "jobs")
        self.job, self._pods = next(self._states)
        return [*([self.job] if self.job else []), {"metadata": {"name": "another"}}]

    def pods(self, namespace: str, selector: str) -> list[Object]:
        assert (namespace, selector) == ("models", "batch.kubernetes.io/job-name=train-1")
        return self._pods

    def follow(self, namespace: str, name: str, silence: float) -> Iterator[str]:
        yield from (f"{name} trains", result_of(name))


class UnreliableCluster(FakeCluster):
    """A cluster that fails every other call, and cuts off every first log."""

    calls = 0

    def objects(self, group: str, namespace: str, kind: str) -> list[Object]:
        self.calls += 1
        if self.calls % 2:
            raise ServerError("The cluster is not available.")
        return super().objects(group, namespace, kind)

    def follow(self, namespace: str, name: str, silence: float) -> Iterator[str]:
        first, *others = super().follow(namespace, name, silence)
        yield first
        if self.calls < 4:
            raise ServerError("The cluster is not available: cut off.")
        yield from others


def follow_fake(cluster: FakeCluster, deadline: float = float("inf")) -> tuple[Outcome, list[str]]:
    return follow(cluster, "models", "train-1", deadline)  # type: ignore[arg-type]


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "_POLL_SECONDS", 0)


@pytest.mark.usefixtures("no_pause")
def test_follow_prints_each_log_once_and_returns_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    lost, second = make_pod("lost", code=1), make_pod("second", "Running")
    states = [
        (make_job(), []),
        (make_job(), [make_pod("lost", "Pending")]),
        (make_job(), [lost]),
        (make_job(), [lost, second]),
        (make_job(Complete=""), [lost, make_pod("second", "Succeeded", 0)]),
    ]
    outcome, log = follow_fake(FakeCluster(*states))
    assert outcome.complete
    assert find_reference("train-1", outcome, log) == "s3://m/second@sha256:1"
    printed = capsys.readouterr().err.splitlines()
    assert printed.count("lost trains") == printed.count("second trains") == 1
    assert "waiting: for a pod" in printed
    assert "waiting: the pod is pending" in printed


@pytest.mark.usefixtures("no_pause")
def test_follow_search_ends_with_the_pod_of_the_last_index() -> None:
    def indexed(name: str, index: int, message: str) -> Object:
        pod = make_pod(name, "Succeeded", 0, message)
        pod["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": str(index)}
        return pod

    trained, shard = indexed("a", 2, result_of("a")), indexed("b", 0, "Shard 0 is finished.")
    outcome, _ = follow_fake(FakeCluster((make_job(Complete=""), [trained, shard])))
    assert find_reference("train-1", outcome, []) == "s3://m/a@sha256:1"


def test_follow_unavailable_cluster_prints_each_line_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    running = (make_job(), [make_pod("only", "Running")])
    states = [running, running, (make_job(Complete=""), [make_pod("only", "Succeeded", 0)])]
    outcome, log = follow_fake(UnreliableCluster(*states))
    assert outcome.complete
    assert log == ["only trains", result_of("only")]
    printed = capsys.readouterr().err.splitlines()
    assert printed.count("only trains") == printed.count(result_of("only")) == 1
    assert "waiting: The cluster is not available." in printed
    assert "waiting: The cluster is not available: cut off." in printed


@pytest.mark.usefixtures("no_pause")
def test_follow_log_that_ended_early_is_read_to_its_end() -> None:
    class EarlyEnd(FakeCluster):
        def follow(self, namespace: str, name: str, silence: float) -> Iterator[str]:
            lines = [*super().follow(namespace, name, silence)]
            assert self.job is not None
            return iter(lines if self.job["status"]["conditions"] else lines[:1])

    states = [
        (make_job(), [make_pod("only", "Running")]),
        (make_job(Complete=""), [make_pod("only", "Succeeded", 0)]),
    ]
    _, log = follow_fake(EarlyEnd(*states))
    assert log == ["only trains", result_of("only")]


@pytest.mark.usefixtures("no_pause")
def test_follow_job_that_fails_during_the_log_keeps_exit_code() -> None:
    """The Job is read before its pods, so the pods of a failed Job have their exit codes."""
    order: list[str] = []

    class Recording(FakeCluster):
        def objects(self, group: str, namespace: str, kind: str) -> list[Object]:
            order.append(kind)
            return super().objects(group, namespace, kind)

        def pods(self, namespace: str, selector: str) -> list[Object]:
            order.append("pods")
            return super().pods(namespace, selector)

    failed = make_pod("only", "Failed", 3, "error: Too low.")
    outcome, _ = follow_fake(
        Recording((make_job(), [make_pod("only", "Running")]), (make_job(Failed=""), [failed]))
    )
    assert outcome == Outcome(False, 3, "Too low.")
    assert order == ["jobs", "pods"] * 2


@pytest.mark.parametrize("deadline", [0, float("inf")])
def test_follow_without_permission_ends_at_once(deadline: float) -> None:
    class Forbidden(FakeCluster):
        def objects(self, group: str, namespace: str, kind: str) -> list[Object]:
            raise ConfigurationError("The cluster forbids listing jobs.")

    with pytest.raises(ConfigurationError, match="forbids listing jobs"):
        follow_fake(Forbidden(), deadline)


def test_follow_unavailable_cluster_ends_at_the_deadline() -> None:
    with pytest.raises(ServerError, match=r"train-1 .*in time \(The cluster is not available\): .*kubectl"):
        follow_fake(UnreliableCluster(), 0)


def test_follow_deleted_job_is_an_error() -> None:
    with pytest.raises(ServerError, match=r"train-1 does not exist any more.*Submit again"):
        follow_fake(FakeCluster((None, [])))


def test_follow_endless_job_ends_at_the_deadline() -> None:
    with pytest.raises(ServerError, match=r"train-1 has not ended in time .*kubectl describe job/train-1"):
        follow_fake(FakeCluster((make_job(), [])), 0)


def test_reject_if_active_other_run_of_the_release_is_an_error() -> None:
    def release_job(name: str, release: str = "iris", *conditions: str) -> Object:
        listed = [{"type": kind, "status": "True"} for kind in conditions]
        labels = {"app.kubernetes.io/instance": release}
        return {"metadata": {"name": name, "labels": labels}, "status": {"conditions": listed}}

    with pytest.raises(ConfigurationError, match=r"release iris .*the Job iris-1: wait .*--release"):
        reject_if_active([release_job("iris-1")], "iris-2", "iris")
    others = [
        release_job("iris-1", "iris", "Complete"),
        release_job("a", "b"),
        release_job("iris-2"),
        {"metadata": {"name": "c"}},
    ]
    reject_if_active(others, "iris-2", "iris")


def test_submit_invalid_channel_is_rejected_before_helm_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "train.yaml"
    config.write_text("name: x\ntask: classification\ndata: {dataset: iris}\nalgorithm: {name: GaussianNB}\n")
    monkeypatch.setattr(submit, "_run_helm", lambda *arguments: pytest.fail("helm was called"))
    with pytest.raises(ConfigurationError, match=r"'A b'.*channel"):
        submit.submit(config, "s3://models", channel="A b")

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from tidegate_training import submit
from tidegate_training.submit import Outcome, failure, follow, job_name, judge, reference_in, refuse_another

from tidegate.errors import ConfigurationError, ExitCode, GateNotPassedError, ServerError


def job(**conditions):
    listed = [{"type": kind, "status": "True", "message": message} for kind, message in conditions.items()]
    return {"metadata": {"name": "train-1"}, "status": {"conditions": listed}}


def pod(name="train-1-a", phase="Failed", code=None, message=""):
    ended = (
        []
        if code is None
        else [{"name": "train", "state": {"terminated": {"exitCode": code, "message": message}}}]
    )
    return {"metadata": {"name": name}, "status": {"phase": phase, "containerStatuses": ended}}


@pytest.mark.parametrize(
    ("found", "pods", "outcome"),
    [
        (job(), [pod(phase="Running")], None),
        (job(SuccessCriteriaMet=""), [pod(phase="Succeeded")], None),
        (job(Complete=""), [pod(phase="Succeeded", code=0)], Outcome(True, 0, "")),
        (
            job(Failed="Container train failed."),
            [pod(code=1, message="lost"), pod(code=3, message="reading data\nerror: Too low.\n")],
            Outcome(False, 3, "Too low."),
        ),
        (job(Failed="Deadline was exceeded."), [], Outcome(False, 1, "Deadline was exceeded.")),
        (job(Failed="Container failed."), [pod(code=137)], Outcome(False, 137, "Container failed.")),
    ],
)
def test_a_job_is_judged_by_its_conditions_and_its_last_pod(found, pods, outcome):
    assert judge(found, pods) == outcome


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (ExitCode.BAD_INPUT, ConfigurationError),
        (ExitCode.GATE_NOT_PASSED, GateNotPassedError),
        (ExitCode.CRASH, ServerError),
        (137, ServerError),
    ],
)
def test_the_command_ends_as_the_run_ended(code, error):
    raised = failure("train-1", Outcome(False, code, "Too low."))
    assert type(raised) is error
    assert str(raised) == "The Job train-1 failed: Too low."


def test_the_reference_is_the_last_that_the_log_names():
    assert reference_in(["x", "Reference: s3://m/a@sha256:1", "bye"]) == "s3://m/a@sha256:1"
    with pytest.raises(ServerError, match="no longer names"):
        reference_in(["Reference is missing"])


def test_the_job_is_the_one_of_the_manifest():
    manifest = "kind: ConfigMap\n---\nkind: Job\nmetadata: {name: train-1}\nspec: {}\n---\n"
    assert job_name(manifest, "train") == "train-1"


@pytest.mark.parametrize(
    "manifest",
    [
        "kind: CronJob\n",
        "kind: Job\nmetadata: {name: a}\nspec: {completionMode: Indexed}\n",
    ],
)
def test_a_schedule_or_a_sweep_is_not_followed(manifest):
    with pytest.raises(ConfigurationError, match="no single training run"):
        job_name(manifest, "train")


class Cluster:
    """A cluster whose Job's pods come one after the other."""

    def __init__(self, *states):
        self.states = iter(states)

    def pods(self, namespace, selector):
        assert (namespace, selector) == ("models", "batch.kubernetes.io/job-name=train-1")
        self.job, pods = next(self.states)
        return pods

    def objects(self, group, namespace, kind):
        return [*([self.job] if self.job else []), {"metadata": {"name": "another"}}]

    def follow(self, namespace, name, silence):
        yield from (f"{name} trains", f"Reference: s3://m/{name}@sha256:1")


class Shaky(Cluster):
    """The same, but every other question and every first log is cut off."""

    asked = 0

    def pods(self, namespace, selector):
        self.asked += 1
        if self.asked % 2:
            raise ServerError("The cluster does not answer.")
        return super().pods(namespace, selector)

    def follow(self, namespace, name, silence):
        first, *others = super().follow(namespace, name, silence)
        yield first
        if self.asked < 4:
            raise ServerError("The cluster does not answer: cut off.")
        yield from others


def test_every_pod_is_followed_once_and_the_last_one_counts(monkeypatch, capsys):
    monkeypatch.setattr(submit, "_LOOK_SECONDS", 0)
    lost, second = pod("lost", code=1), pod("second", "Running")
    states = [
        (job(), []),
        (job(), [pod("lost", "Pending")]),
        (job(), [lost]),
        (job(), [lost, second]),
        (job(Complete=""), [lost, pod("second", "Succeeded", 0)]),
    ]
    outcome, log = follow(Cluster(*states), "models", "train-1", until=float("inf"))
    assert outcome.done
    assert reference_in(log) == "s3://m/second@sha256:1"
    told = capsys.readouterr().err.splitlines()
    assert told.count("lost trains") == told.count("second trains") == 1
    assert "waiting: for a pod" in told
    assert "waiting: the pod is pending" in told


def test_a_cluster_that_does_not_answer_is_waited_for_and_no_line_of_the_log_is_lost_or_doubled(
    monkeypatch, capsys
):
    monkeypatch.setattr(submit, "_LOOK_SECONDS", 0)
    states = [(job(), [pod("only", "Running")])] * 2 + [(job(Complete=""), [pod("only", "Succeeded", 0)])]
    outcome, log = follow(Shaky(*states), "models", "train-1", until=float("inf"))
    assert outcome.done
    assert log == ["only trains", "Reference: s3://m/only@sha256:1"]
    told = capsys.readouterr().err.splitlines()
    assert told.count("only trains") == told.count("Reference: s3://m/only@sha256:1") == 1
    assert "waiting: The cluster does not answer." in told
    assert "waiting: The cluster does not answer: cut off." in told


def test_a_log_that_ended_before_its_pod_is_read_to_its_end(monkeypatch):
    monkeypatch.setattr(submit, "_LOOK_SECONDS", 0)

    class Curt(Cluster):
        def follow(self, namespace, name, silence):
            lines = [*super().follow(namespace, name, silence)]
            return iter(lines if self.job["status"]["conditions"] else lines[:1])

    states = [(job(), [pod("only", "Running")]), (job(Complete=""), [pod("only", "Succeeded", 0)])]
    _, log = follow(Curt(*states), "models", "train-1", until=float("inf"))
    assert log == ["only trains", "Reference: s3://m/only@sha256:1"]


@pytest.mark.parametrize("until", [0, float("inf")])
def test_a_cluster_that_forbids_to_look_is_not_waited_for(until):
    class Closed(Cluster):
        def pods(self, namespace, selector):
            raise ConfigurationError("The cluster refuses listing pods.")

    with pytest.raises(ConfigurationError, match="refuses listing pods"):
        follow(Closed(), "models", "train-1", until)


def test_a_cluster_that_answers_no_more_is_given_up_when_the_time_is_over():
    with pytest.raises(ServerError, match=r"not ended in time \(The cluster does not answer\): see"):
        follow(Shaky(), "models", "train-1", until=0)


def test_a_job_that_is_gone_is_told():
    with pytest.raises(ServerError, match="train-1 is gone"):
        follow(Cluster((None, [])), "models", "train-1", until=float("inf"))


def running(name, release="iris", **conditions):
    listed = [{"type": kind, "status": "True"} for kind in conditions]
    labels = {"app.kubernetes.io/instance": release}
    return {"metadata": {"name": name, "labels": labels}, "status": {"conditions": listed}}


def test_another_run_of_the_release_is_not_replaced_while_it_is_under_way():
    with pytest.raises(ConfigurationError, match="still trains as iris-1"):
        refuse_another([running("iris-1")], "iris-2", "iris")
    others = [
        running("iris-1", Complete=1),
        running("a", "b"),
        running("iris-2"),
        {"metadata": {"name": "c"}},
    ]
    refuse_another(others, "iris-2", "iris")


def test_a_job_that_does_not_end_is_given_up():
    with pytest.raises(ServerError, match="has not ended in time"):
        follow(Cluster((job(), [])), "models", "train-1", until=0)


def test_a_channel_that_is_none_costs_no_job(tmp_path, monkeypatch):
    config = tmp_path / "train.yaml"
    config.write_text("name: x\ntask: classification\ndata: {dataset: iris}\nalgorithm: {name: GaussianNB}\n")
    monkeypatch.setattr(submit, "_helm", lambda *arguments: pytest.fail("helm was called"))
    with pytest.raises(ConfigurationError, match="'A b' is not a channel name"):
        submit.submit(config, "s3://models", channel="A b")

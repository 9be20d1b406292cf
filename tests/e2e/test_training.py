# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Training by a Job from data in object storage: success, bad data, a lost pod, a sweep and a schedule."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import obstore
import pytest
import yaml

from tests.e2e.killer import Killer
from tests.e2e.kube import (
    CommandError,
    Namespace,
    Object,
    commands,
    last_termination_message,
    run,
    termination_messages,
    tidegate,
)
from tests.e2e.model import BREAST_CANCER, Model
from tests.e2e.release import SECRET
from tests.e2e.store import bucket, keys
from tests.e2e.target import Target
from tidegate.kubernetes.pods import condition, unmet_condition

CHART = Path("helm/tidegate-training")
EXAMPLE = Path("examples/credit-risk")
CHANNEL = "candidate"

RELEASE = "train"
FILES = ("train.yaml", "values.yaml")

Install = Callable[..., str]


def chart_values(namespace: Namespace, target: Target) -> dict[str, Any]:
    """Return the common values of all runs; each namespace has a store of its own."""
    repository, tag = target.image("training")
    return {
        "store": f"s3://{target.models}/{namespace.name}",
        "image": {"repository": repository, "tag": tag},
        "objectStore": {
            "secretName": SECRET,
            "endpoint": target.s3_from_pods,
            "region": target.region,
        },
        "resources": {
            "requests": {"cpu": "250m", "memory": "512Mi"},
            "limits": {"cpu": "1", "memory": "2Gi"},
        },
    }


@pytest.fixture
def install(namespace: Namespace, target: Target, tmp_path: Path) -> Install:
    """A function that uploads data, installs the chart and returns the Job's name."""
    config_file, values_file = (tmp_path / name for name in FILES)

    def install_with(
        data: str, changes: Mapping[str, Any] | None = None, fields: Mapping[str, Any] | None = None
    ) -> str:
        path = f"{namespace.name}/loans.csv"
        obstore.put(bucket(target, target.data), path, data.encode())
        config = yaml.safe_load((EXAMPLE / "train.yaml").read_text())
        config |= {"data": {"path": f"s3://{target.data}/{path}"}, **(fields or {})}
        values = chart_values(namespace, target) | {"channel": CHANNEL} | dict(changes or {})
        config_file.write_text(yaml.safe_dump(config))
        values_file.write_text(yaml.safe_dump(values))
        files = [f"--values={values_file}", f"--set-file=config={config_file}"]
        namespace.helm("upgrade", "--install", RELEASE, str(CHART), *files)
        [job] = namespace.get("jobs")["items"]
        return str(job["metadata"]["name"])

    return install_with


def submit(target: Target, namespace: Namespace, folder: Path) -> Any:
    """Run `tidegate submit` with the files of the fixture `install`.

    Args:
        target: The cluster under test.
        namespace: The release's namespace.
        folder: The folder of the files.

    Returns:
        The command's JSON output.
    """
    config, values = (str(folder / name) for name in FILES)
    command = ["submit", config, "--values", values, "--release", RELEASE, "--namespace", namespace.name]
    return tidegate(*command, "--channel", CHANNEL, "--store", f"s3://{target.models}/{namespace.name}")


def wait_for_end(namespace: Namespace, job: str, timeout: float = 240) -> Object:
    """Wait until a Job has completed or failed, and return it.

    Args:
        namespace: The Job's namespace.
        job: The Job's name.
        timeout: The limit in seconds.
    """

    def still_running() -> str | None:
        resource = namespace.get(f"job/{job}")
        ended = any(unmet_condition(resource, kind) is None for kind in ("Complete", "Failed"))
        return None if ended else f"status {resource.get('status', {})}"

    namespace.wait(f"the end of {job}", still_running, timeout=timeout)
    return namespace.get(f"job/{job}")


def reference(log: str) -> str:
    """Return the one bundle reference in a training run's log."""
    references = set(re.findall(r"s3://[^\s\"]+@sha256:[0-9a-f]{64}", log))
    assert len(references) == 1, log[-3000:]
    return str(references.pop())


def pods_of(namespace: Namespace, job: str) -> list[Object]:
    """Return a Job's pods, the oldest first."""
    pods = namespace.pods(f"batch.kubernetes.io/job-name={job}")
    return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def train_here(target: Target, folder: Path, *options: str) -> str:
    """Train on this machine with the same data, and return the digest."""
    command = ["train", str(folder / FILES[0]), "--out", str(folder / "bundle"), *options]
    result = tidegate(*command, env=target.store_environment())
    return str(result["digest"])


def test_training_job(
    install: Install, namespace: Namespace, target: Target, tmp_path: Path, evidence: dict[str, Any]
) -> None:
    data = (EXAMPLE / "loans.csv").read_text()
    job = install(data)
    uid = namespace.get(f"job/{job}")["metadata"]["uid"]
    # An upgrade that changes only where the Job runs neither replaces nor changes the running Job.
    elsewhere = {"nodeSelector": {"kubernetes.io/os": "linux"}, "commonLabels": {"team": "credit"}}
    assert install(data, elsewhere) == job
    ended = wait_for_end(namespace, job)
    assert ended["metadata"]["uid"] == uid
    assert ended["metadata"]["labels"]["team"] == "credit"
    [pod] = pods_of(namespace, job)
    assert "nodeSelector" not in pod["spec"]
    log = namespace.logs(pod["metadata"]["name"])
    evidence["log"] = log.splitlines()[-12:]
    assert unmet_condition(ended, "Complete") is None, log

    trained = reference(log)
    evidence["reference"] = trained
    digest = trained.rpartition(":")[2]
    stored = keys(target, f"{namespace.name}/credit-risk/")
    assert f"{namespace.name}/credit-risk/{digest}/manifest.json" in stored
    evidence["objects"] = len(stored)
    channel = f"s3://{target.models}/{namespace.name}/credit-risk:{CHANNEL}"
    pointed = tidegate("inspect", channel, env=target.store_environment())
    assert pointed["digest"] == digest
    evidence["channel_digest"] = pointed["digest"]

    # A second installation, by helm or by `tidegate submit`, uses the existing Job instead of training again.
    assert install(data) == job
    again = submit(target, namespace, tmp_path)
    evidence["submit"] = again
    assert again == {"job": job, "namespace": namespace.name, "reference": trained}
    assert len(namespace.get("jobs")["items"]) == 1
    assert len(pods_of(namespace, job)) == 1

    # The same data, configuration, seed and versions on this machine make the same bundle.
    evidence["digest_on_another_machine"] = train_here(target, tmp_path)
    assert evidence["digest_on_another_machine"] == digest


def test_training_job_bad_data(
    install: Install, namespace: Namespace, target: Target, tmp_path: Path, evidence: dict[str, Any]
) -> None:
    lines = (EXAMPLE / "loans.csv").read_text().splitlines()
    lines[7] += ",and,more,columns"
    job = install("\n".join(lines) + "\n")
    ended = wait_for_end(namespace, job)
    [pod] = pods_of(namespace, job)  # one pod, because there is no retry

    failed = condition(ended, "Failed")
    evidence["job"] = {key: failed.get(key) for key in ("reason", "message")}
    assert failed["reason"] == "PodFailurePolicy"
    log = namespace.logs(pod["metadata"]["name"])
    evidence["log"] = log.splitlines()[-3:]
    [container] = pod["status"]["containerStatuses"]
    evidence["exit_code"] = container["state"]["terminated"]["exitCode"]
    assert evidence["exit_code"] == 2
    evidence["pod_status"] = termination_messages(pod)
    assert "loans.csv" in evidence["pod_status"]
    assert "Traceback" not in log
    evidence["objects_in_the_store"] = len(keys(target, f"{namespace.name}/"))
    assert evidence["objects_in_the_store"] == 0
    with pytest.raises(CommandError) as caught:
        submit(target, namespace, tmp_path)
    assert caught.value.code == 2
    evidence["submit"] = caught.value.last_line
    assert "loans.csv" in evidence["submit"]


def test_training_job_pod_lost(
    install: Install, namespace: Namespace, target: Target, tmp_path: Path, evidence: dict[str, Any]
) -> None:
    with Killer(target) as killer:
        job = install((EXAMPLE / "loans.csv").read_text())

        def not_midway() -> str | None:
            """Return why the run is not midway: it has read the data, but has not written the bundle."""
            pods = pods_of(namespace, job)
            if not pods or pods[0]["status"]["phase"] != "Running":
                return "it is not running yet"
            log = namespace.logs(pods[0]["metadata"]["name"])
            return None if len(log.splitlines()) >= 3 else f"its log is {log!r}"

        namespace.wait("the run to be midway", not_midway, timeout=120, interval=0.2)
        first = pods_of(namespace, job)[0]
        evidence["log_when_killed"] = namespace.logs(first["metadata"]["name"]).splitlines()
        evidence["processes_killed"] = killer.kill(first)

    assert not [key for key in keys(target, f"{namespace.name}/") if key.endswith("manifest.json")]
    ended = wait_for_end(namespace, job)
    pods = pods_of(namespace, job)
    evidence["pods"] = [
        {
            "phase": pod["status"]["phase"],
            "exit_code": pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        }
        for pod in pods
    ]
    assert unmet_condition(ended, "Complete") is None, json.dumps(ended["status"])
    assert [pod["exit_code"] for pod in evidence["pods"]] == [137, 0]
    evidence["reference"] = reference(namespace.logs(pods[1]["metadata"]["name"]))
    evidence["digest_of_undisturbed_run"] = train_here(target, tmp_path)
    assert evidence["reference"].endswith(evidence["digest_of_undisturbed_run"])


SHARDS = 8
SEARCH = {
    "algorithms": [
        {
            "name": "RandomForestClassifier",
            "parameters": {"n_estimators": 200},
            "space": {"min_samples_leaf": {"type": "int", "low": 1, "high": 40, "log": True}},
        },
        {
            "name": "GradientBoostingClassifier",
            "parameters": {"n_estimators": 100},
            "space": {"learning_rate": {"type": "float", "low": 0.01, "high": 0.3, "log": True}},
        },
    ],
    "metric": "roc_auc",
    "trials": 3 * SHARDS,
    "shards": SHARDS,
    "folds": {"outer": 2, "inner": 2},
}
STUDIES = ("all", "outer-1", "outer-2")
TRIALS_PER_SHARD = 3 * len(STUDIES)


def index_of(pod: Object) -> int:
    """Return the completion index of a pod."""
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def stored_trials(target: Target, namespace: Namespace) -> dict[str, tuple[int, Any]]:
    """Return, by key, the shard and the time of the last change of each finished trial."""
    store = bucket(target, target.models)
    return {
        entry["path"]: (int(Path(entry["path"]).stem) % SHARDS, entry["last_modified"])
        for page in obstore.list(store, f"{namespace.name}/trials/")
        for entry in page
        if Path(entry["path"]).parent.name in STUDIES
    }


def test_training_search(
    install: Install, namespace: Namespace, target: Target, tmp_path: Path, evidence: dict[str, Any]
) -> None:
    resources = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    with Killer(target) as killer:
        job = install(
            (EXAMPLE / "loans.csv").read_text(),
            {"parallelism": 4, "resources": resources},
            {"search": SEARCH, "gates": {}},
        )
        midway: list[Object] = []

        def none_midway() -> str | None:
            """Return why no shard is midway: some of its trials are finished, and others are not."""
            shards = [shard for shard, _ in stored_trials(target, namespace).values()]
            midway[:] = [
                pod
                for pod in pods_of(namespace, job)
                if pod["status"]["phase"] == "Running"
                and 2 <= shards.count(index_of(pod)) <= TRIALS_PER_SHARD - 3
            ]
            return None if midway else f"{len(shards)} trials are finished"

        namespace.wait("a shard to be midway", none_midway, timeout=240, interval=0.5)
        killed = index_of(midway[0])
        evidence["processes_killed"] = killer.kill(midway[0])
        before = stored_trials(target, namespace)
        n_before = [shard for shard, _ in before.values()].count(killed)
    evidence |= {"killed_shard": killed, "trials_of_the_shard_when_killed": n_before}

    ended = wait_for_end(namespace, job, timeout=900)
    pods = pods_of(namespace, job)
    logs = {pod["metadata"]["name"]: namespace.logs(pod["metadata"]["name"]) for pod in pods}
    assert unmet_condition(ended, "Complete") is None, logs
    exit_codes: dict[int, list[int]] = {}
    trials_run: dict[int, int] = {}
    for pod in pods:
        [container] = pod["status"]["containerStatuses"]
        exit_codes.setdefault(index_of(pod), []).append(container["state"]["terminated"]["exitCode"])
        if found := re.search(r"finished; (\d+) trials were run", logs[pod["metadata"]["name"]]):
            trials_run[index_of(pod)] = int(found[1])
    evidence |= {"exit_codes": exit_codes, "trials_run": trials_run}
    assert exit_codes == {index: [0] for index in range(SHARDS + 1)} | {killed: [137, 0]}
    # No finished trial ran again: the second pod of the shard ran the others, and no object was replaced.
    expected = dict.fromkeys(range(SHARDS), TRIALS_PER_SHARD) | {killed: TRIALS_PER_SHARD - n_before}
    assert trials_run == expected
    after = stored_trials(target, namespace)
    assert len(after) == SHARDS * TRIALS_PER_SHARD
    assert {key: after[key] for key in before} == before

    # One run fitted the winner, pushed the bundle and moved the channel; this machine makes the same one.
    [trainer] = [pod for pod in pods if index_of(pod) == SHARDS]
    trained = reference(logs[trainer["metadata"]["name"]])
    store = f"s3://{target.models}/{namespace.name}"
    stored = [key for key in keys(target, f"{namespace.name}/credit-risk/") if key.endswith("manifest.json")]
    assert stored == [f"{namespace.name}/credit-risk/{trained.rpartition(':')[2]}/manifest.json"]
    channel = tidegate("inspect", f"{store}/credit-risk:{CHANNEL}", env=target.store_environment())
    assert trained.endswith(channel["digest"])
    evidence["submit"] = submit(target, namespace, tmp_path)
    assert evidence["submit"]["reference"] == trained
    evidence["digest_on_another_machine"] = train_here(target, tmp_path, "--trials", f"{store}/trials")
    assert trained.endswith(evidence["digest_on_another_machine"])


def test_training_sweep(
    namespace: Namespace, target: Target, v1: Model, tmp_path: Path, evidence: dict[str, Any]
) -> None:
    def install_release(name: str, changes: dict[str, Any]) -> list[list[str]]:
        """Install the chart, and return the commands of its notes."""
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(chart_values(namespace, target) | changes))
        namespace.helm("install", name, str(CHART), f"--values={file}")
        return commands(namespace.helm("get", "notes", name))

    # An annual schedule with a gate that no model passes, started now; the channel points to a bundle
    # already.
    store = f"s3://{target.models}/{namespace.name}/nightly"
    tidegate("push", str(v1.bundle.path), store, "--channel", CHANNEL, env=target.store_environment())
    before = keys(target, f"{namespace.name}/nightly/")
    start, *_ = install_release(
        "nightly",
        {
            "schedule": "0 3 1 1 *",
            "store": store,
            "channel": CHANNEL,
            "config": BREAST_CANCER | {"gates": {"test.recall": ">= 1.01"}},
        },
    )
    run(start)
    # Concurrently, a sweep of two runs that differ in a hyperparameter.
    install_release(
        "sweep",
        {
            "config": BREAST_CANCER,
            "sweep": [{"algorithm": {"parameters": {"C": strength}}} for strength in (0.1, 10)],
        },
    )
    selector = "--selector=app.kubernetes.io/instance=sweep"
    [sweep] = [str(job["metadata"]["name"]) for job in namespace.get("jobs", selector)["items"]]

    ended = wait_for_end(namespace, sweep)
    pods = pods_of(namespace, sweep)
    logs = [namespace.logs(pod["metadata"]["name"]) for pod in pods]
    assert unmet_condition(ended, "Complete") is None, logs
    assert ended["spec"]["completionMode"] == "Indexed"
    assert len(pods) == 2
    references = evidence["references"] = [reference(log) for log in logs]
    digests = {text.rpartition(":")[2] for text in references}
    assert len(digests) == 2
    stored = keys(target, f"{namespace.name}/{v1.name}/")
    assert {f"{namespace.name}/{v1.name}/{digest}/manifest.json" for digest in digests} <= stored
    assert not [key for key in stored if "/channels/" in key]

    ended = wait_for_end(namespace, "nightly-now")
    [pod] = pods_of(namespace, "nightly-now")  # one pod, because there is no retry
    [container] = pod["status"]["containerStatuses"]
    evidence["gate"] = {
        "reason": condition(ended, "Failed").get("reason"),
        "exit_code": container["state"]["terminated"]["exitCode"],
        "pod_status": last_termination_message(pod),
    }
    assert evidence["gate"]["reason"] == "PodFailurePolicy"
    assert evidence["gate"]["exit_code"] == 3
    assert "test.recall" in evidence["gate"]["pod_status"]
    assert keys(target, f"{namespace.name}/nightly/") == before
    pointed = tidegate("inspect", f"{store}/{v1.name}:{CHANNEL}", env=target.store_environment())
    assert pointed["digest"] == v1.digest

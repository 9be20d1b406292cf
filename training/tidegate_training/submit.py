# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``tidegate submit``: a training run as a Job on a cluster, followed to its end.

The Job is the chart's (``helm/tidegate-training``), installed by Helm; this adds nothing to it. It follows
the logs and ends as the run ended: with the bundle's reference, or with its own sentence and exit code.
"""

import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from tidegate.console import OutputFormat, OutputOption, print_result, stderr
from tidegate.errors import ConfigurationError, ExitCode, GateNotPassedError, ServerError, TidegateError
from tidegate.kubernetes.pods import (
    container_statuses,
    terminated_states,
    termination_message,
    waiting_reason,
)

if TYPE_CHECKING:
    from tidegate.kubernetes.client import Cluster
    from tidegate.kubernetes.pods import Object

_LOOK_SECONDS = 1.0
_ENDED = ("Succeeded", "Failed")
_REFERENCE = re.compile(r"^Reference: (\S+)$")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a Job ended."""

    done: bool
    exit_code: int
    """Of the last pod's container; that of a crash if no pod could say."""
    said: str
    """The last line of the pod's termination message, or the Job's own reason."""


def submit(
    config: Annotated[Path, typer.Argument(help="The YAML file that says what to train.", metavar="CONFIG")],
    store: Annotated[
        str, typer.Option(help="The store for the bundle: s3://bucket/prefix, gs://… or az://….")
    ],
    release: Annotated[
        str | None, typer.Option(help="The Helm release to install or upgrade; by default train-<model>.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Where; by default the context's namespace.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="A channel that then points to the bundle, if every gate passed.")
    ] = None,
    chart: Annotated[
        str, typer.Option(envvar="TIDEGATE_TRAINING_CHART", help="The chart: a folder, or an address.")
    ] = "helm/tidegate-training",
    values: Annotated[
        list[Path] | None,
        typer.Option("--values", "-f", help="A values file for the chart. May be repeated."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A value for the chart, key=value. May be repeated.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="How many seconds the run may take in all.", min=1)] = 3600,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Train on a cluster: install the Job, follow its log, return the bundle's reference.

    An unchanged submission finds the Job that is there, and a changed one makes a new Job, but not while
    another run of the release is under way. Exits as the run does: with 2 for wrong data or configuration,
    with 3 for a gate that was not passed.
    """
    from tidegate.kubernetes.client import Cluster
    from tidegate.reference import ChannelReference
    from tidegate.settings import load_yaml
    from tidegate_training.config import TrainingConfig

    name = load_yaml(config, TrainingConfig).name  # a mistake costs no Job
    if channel is not None:
        ChannelReference(store, name, channel)
    cluster = Cluster()
    place = namespace or cluster.namespace()
    release = release or f"train-{name}"  # the model's name alone is for the release that serves it
    given = [release, chart, f"--namespace={place}", f"--set-file=config={config}", f"--set=store={store}"]
    given += [f"--set=channel={channel}"] if channel else []
    given += [f"--values={file}" for file in values or []] + [f"--set={pair}" for pair in settings or []]
    job = job_name(_helm("template", *given), release)
    refuse_another(cluster.objects("batch/v1", place, "jobs"), job, release)
    _helm("upgrade", "--install", *given)
    stderr.print(f"{place}/{job} trains.", soft_wrap=True)
    outcome, log = follow(cluster, place, job, time.monotonic() + timeout)
    if not outcome.done:
        raise failure(job, outcome)
    reference = reference_in(log)
    print_result(output, {"job": job, "namespace": place, "reference": reference}, reference)


def follow(cluster: "Cluster", namespace: str, job: str, until: float) -> tuple[Outcome, list[str]]:
    """Print the log of each of a Job's pods as it is written, until the Job has ended.

    A cluster that does not answer is waited for like everything else: the Job goes on meanwhile.

    Returns:
        How it ended, and the log of its last pod.

    Raises:
        ServerError: The time is over, or the Job is gone.
        ConfigurationError: The cluster does not let this user look.
    """
    logs: dict[str, list[str]] = {}
    ended: set[str] = set()
    told = ""
    while True:
        try:
            pods = cluster.pods(namespace, f"batch.kubernetes.io/job-name={job}")
            for pod in pods:
                name, phase = pod["metadata"]["name"], pod["status"].get("phase", "Pending")
                if name in ended or phase == "Pending":
                    continue
                log = logs.setdefault(name, [])
                lines = cluster.follow(namespace, name, max(1.0, until - time.monotonic()))
                # A log begins anew each time; one that was cut off goes on behind what is known of it.
                for line in islice(lines, len(log), None):
                    log.append(line)
                    stderr.print(line, soft_wrap=True, markup=False)
                if phase in _ENDED:
                    ended.add(name)
            jobs = {item["metadata"]["name"]: item for item in cluster.objects("batch/v1", namespace, "jobs")}
        except ServerError as error:
            waiting = str(error)
        else:
            if job not in jobs:
                raise ServerError(
                    f"The Job {job} is gone: another submission, or its time to live, took it away."
                )
            if (outcome := judge(jobs[job], pods)) is not None:
                return outcome, next(reversed(logs.values()), [])
            waiting = _waiting(pods)
        if time.monotonic() > until:
            known = waiting.rstrip(".")
            raise ServerError(
                f"The Job {job} has not ended in time ({known}): see kubectl describe job/{job}."
            )
        if waiting != told:
            told = waiting
            stderr.print(f"waiting: {waiting}", soft_wrap=True, markup=False)
        time.sleep(_LOOK_SECONDS)


def judge(job: "Object", pods: Sequence["Object"]) -> Outcome | None:
    """How a Job ended, from its conditions and its last pod; None while it runs."""
    conditions = _conditions(job)
    if "Complete" in conditions:
        return Outcome(True, ExitCode.DONE, "")
    if "Failed" not in conditions:
        return None
    reason = str(conditions["Failed"].get("message", conditions["Failed"].get("reason", "")))
    ended = [
        container for pod in pods for container in container_statuses(pod) if terminated_states(container)
    ]
    if not ended:
        return Outcome(False, ExitCode.CRASH, reason)
    return Outcome(
        False, int(terminated_states(ended[-1])[-1]["exitCode"]), termination_message(ended[-1]) or reason
    )


def refuse_another(jobs: Sequence["Object"], job: str, release: str) -> None:
    """Refuse to replace a run of the same release that is under way: Helm would delete its Job.

    Raises:
        ConfigurationError: There is one.
    """
    for other in jobs:
        name, labels = other["metadata"]["name"], other["metadata"].get("labels", {})
        running = not {"Complete", "Failed"} & _conditions(other).keys()
        if labels.get("app.kubernetes.io/instance") == release and name != job and running:
            raise ConfigurationError(
                f"The release {release} still trains as {name}: wait for it, or name another with --release."
            )


def _conditions(job: "Object") -> dict[str, "Object"]:
    return {c["type"]: c for c in job.get("status", {}).get("conditions", []) if c["status"] == "True"}


def failure(job: str, outcome: Outcome) -> TidegateError:
    """The error that ends the command as the run ended."""
    kinds: dict[int, type[TidegateError]] = {
        ExitCode.BAD_INPUT: ConfigurationError,
        ExitCode.GATE_NOT_PASSED: GateNotPassedError,
    }
    return kinds.get(outcome.exit_code, ServerError)(f"The Job {job} failed: {outcome.said}")


def job_name(manifest: str, release: str) -> str:
    """The name of the one Job that a release's manifest has.

    Raises:
        ConfigurationError: It has none or several runs, as a schedule or a sweep does.
    """
    jobs = [item for item in yaml.safe_load_all(manifest) if item and item["kind"] == "Job"]
    if len(jobs) != 1 or jobs[0]["spec"].get("completionMode") == "Indexed":
        raise ConfigurationError(
            f"The release {release} has no single training run to follow: install a schedule or a sweep with "
            "helm itself."
        )
    return str(jobs[0]["metadata"]["name"])


def reference_in(log: Sequence[str]) -> str:
    """The reference that a training run printed.

    Raises:
        ServerError: The log does not have it, for example because the pod is gone.
    """
    for line in reversed(log):
        if (found := _REFERENCE.match(line)) is not None:
            return found.group(1)
    raise ServerError(
        "The run is done, and its log no longer names the reference: look into the store's channel."
    )


def _waiting(pods: Sequence["Object"]) -> str:
    if not pods:
        return "for a pod"
    return waiting_reason(pods[-1]) or f"the pod is {pods[-1]['status'].get('phase', 'Pending').lower()}"


def _helm(*arguments: str) -> str:
    try:
        done = subprocess.run(["helm", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise ConfigurationError(
            "The command 'helm' is not installed: submit installs the chart with it."
        ) from None
    if done.returncode != 0:
        raise ConfigurationError(f"helm {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout

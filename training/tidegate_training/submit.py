# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``tidegate submit``: installs a training run as a Job, follows its logs, and ends as the run ends.

The Job is that of the chart ``helm/tidegate-training``, and Helm installs it. On success the result is the
bundle's reference; on failure, the run's own error and exit code.
"""

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
from tidegate_training.termination import parse_reference

if TYPE_CHECKING:
    from tidegate.kubernetes.client import Cluster
    from tidegate.kubernetes.pods import Object

CONTAINER = "train"
"""The container whose message and exit code are the run's. The pod may have others of the deployer."""

_POLL_SECONDS = 1.0
_FINAL_CODES = (ExitCode.BAD_INPUT, ExitCode.GATE_NOT_PASSED)
_TERMINAL_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a Job.

    Attributes:
        complete: Whether the Job is complete, and not failed.
        exit_code: The exit code of the last container that ended; 1 if no pod has ended.
        message: The last line of that container's termination message, or the Job's own message.
    """

    complete: bool
    exit_code: int
    message: str


def submit(
    config: Annotated[Path, typer.Argument(help="The YAML file that describes the run.", metavar="CONFIG")],
    store: Annotated[
        str, typer.Option(help="The store for the bundle: s3://bucket/prefix, gs://… or az://….")
    ],
    release: Annotated[
        str | None,
        typer.Option(
            help="The Helm release to install or upgrade; by default 'train-' and the model's name."
        ),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="By default the namespace of the context.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="Move this channel to the bundle if the model passes every gate.")
    ] = None,
    chart: Annotated[
        str, typer.Option(envvar="TIDEGATE_TRAINING_CHART", help="The chart: a folder or an address.")
    ] = "helm/tidegate-training",
    values: Annotated[
        list[Path] | None,
        typer.Option("--values", "-f", help="A values file for the chart. May be repeated."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A value for the chart, key=value. May be repeated.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds until the command stops following.", min=1)] = 3600,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Train on a cluster: install the Job, follow its log, and print the bundle's reference.

    An unchanged submission finds the existing Job. A changed submission creates a new Job, unless another run
    of the release is active. The exit code is that of the run: 2 for wrong data or configuration, 3 for a
    missed gate.
    """
    from tidegate.kubernetes.client import Cluster
    from tidegate.reference import ChannelReference
    from tidegate.settings import load_yaml
    from tidegate_training.config import TrainingConfig

    name = load_yaml(config, TrainingConfig).name  # validated before a Job is created
    if channel is not None:
        ChannelReference(store, name, channel)
    cluster = Cluster()
    namespace = namespace or cluster.namespace()
    release = release or f"train-{name}"  # the release that serves the model has the model's name alone
    arguments = [release, chart, f"--namespace={namespace}", f"--set-file=config={config}"]
    arguments += [f"--set=store={store}", *([f"--set=channel={channel}"] if channel else [])]
    arguments += [f"--values={file}" for file in values or []] + [f"--set={pair}" for pair in settings or []]
    job = job_name(_run_helm("template", *arguments), release)
    reject_if_active(cluster.objects("batch/v1", namespace, "jobs"), job, release)
    _run_helm("upgrade", "--install", *arguments)
    stderr.print(f"Training as {namespace}/{job}.", soft_wrap=True)
    outcome, log = follow(cluster, namespace, job, time.monotonic() + timeout)
    if not outcome.complete:
        raise job_error(job, outcome)
    reference = find_reference(job, outcome, log)
    print_result(output, {"job": job, "namespace": namespace, "reference": reference}, reference)


def follow(cluster: "Cluster", namespace: str, job: str, deadline: float) -> tuple[Outcome, list[str]]:
    """Print the log of each pod of a Job as it is written, until the Job ends.

    An unavailable cluster does not end the wait, because the Job continues.

    Args:
        cluster: The cluster.
        namespace: The Job's namespace.
        job: The Job's name.
        deadline: The end of the wait, on the clock of ``time.monotonic``.

    Returns:
        The Job's outcome, and the log of its last pod.

    Raises:
        ServerError: If the deadline has passed, or the Job no longer exists.
        ConfigurationError: If the user may not read Jobs, pods or logs.
    """
    logs: dict[str, list[str]] = {}
    followed: set[str] = set()
    printed = ""
    while True:
        try:
            # The Job first: the states of its pods, listed later, then include the end of the Job.
            jobs = {item["metadata"]["name"]: item for item in cluster.objects("batch/v1", namespace, "jobs")}
            pods = sorted(  # the last index of a search is the run that trains
                cluster.pods(namespace, f"batch.kubernetes.io/job-name={job}"), key=_completion_index
            )
            for pod in pods:
                name, phase = pod["metadata"]["name"], pod["status"].get("phase", "Pending")
                if name in followed or phase == "Pending":
                    continue
                log = logs.setdefault(name, [])
                lines = cluster.follow(namespace, name, max(1.0, deadline - time.monotonic()))
                # A stream starts at the first line of the log: skip the lines of a stream that was cut off.
                for line in islice(lines, len(log), None):
                    log.append(line)
                    stderr.print(line, soft_wrap=True, markup=False)
                if phase in _TERMINAL_PHASES:
                    followed.add(name)
        except ServerError as error:
            status = str(error)
        else:
            if job not in jobs:
                raise ServerError(
                    f"The Job {job} does not exist any more: another submission replaced it, or its time to "
                    "live is over. Submit again."
                )
            if (outcome := determine_outcome(jobs[job], pods)) is not None:
                return outcome, next(reversed(logs.values()), [])
            status = _describe_pods(pods)
        if time.monotonic() > deadline:
            raise ServerError(
                f"The Job {job} has not ended in time ({status.rstrip('.')}): see kubectl describe job/{job}."
            )
        if status != printed:
            printed = status
            stderr.print(f"waiting: {status}", soft_wrap=True, markup=False)
        time.sleep(_POLL_SECONDS)


def determine_outcome(job: "Object", pods: Sequence["Object"]) -> Outcome | None:
    """Return the outcome of a Job from its conditions and its last pod; None while it runs."""
    conditions = _true_conditions(job)
    if not {"Complete", "Failed"} & conditions.keys():
        return None
    terminated = [
        container
        for pod in pods
        for container in container_statuses(pod)
        if container["name"] == CONTAINER and terminated_states(container)
    ]
    # A wrong configuration and a missed gate fail the Job, whichever shard of a search reports them.
    decisive = [item for item in terminated if _exit_code(item) in _FINAL_CODES]
    terminated = decisive or terminated
    message = termination_message(terminated[-1]) if terminated else ""
    if "Complete" in conditions:
        return Outcome(True, ExitCode.DONE, message)
    reason = str(conditions["Failed"].get("message", conditions["Failed"].get("reason", "")))
    exit_code = _exit_code(terminated[-1]) if terminated else ExitCode.CRASH
    return Outcome(False, exit_code, message or reason)


def _exit_code(container: "Object") -> int:
    return int(terminated_states(container)[-1]["exitCode"])


def reject_if_active(jobs: Sequence["Object"], job: str, release: str) -> None:
    """Check that no other run of the release is active, because Helm would delete its Job.

    Args:
        jobs: The Jobs of the namespace.
        job: The name of the new Job.
        release: The Helm release.

    Raises:
        ConfigurationError: If another run of the release is active.
    """
    for other in jobs:
        name, labels = other["metadata"]["name"], other["metadata"].get("labels", {})
        active = not {"Complete", "Failed"} & _true_conditions(other).keys()
        if labels.get("app.kubernetes.io/instance") == release and name != job and active:
            raise ConfigurationError(
                f"The release {release} is still training as the Job {name}: wait until it ends, or choose "
                "another name with --release."
            )


def job_error(job: str, outcome: Outcome) -> TidegateError:
    """Return the error of a failed Job; its exit code is that of the run."""
    errors: dict[int, type[TidegateError]] = {
        ExitCode.BAD_INPUT: ConfigurationError,
        ExitCode.GATE_NOT_PASSED: GateNotPassedError,
    }
    return errors.get(outcome.exit_code, ServerError)(f"The Job {job} failed: {outcome.message}")


def job_name(manifest: str, release: str) -> str:
    """Return the name of the single Job in a release's manifest.

    Raises:
        ConfigurationError: If the manifest has no Job or several runs, as for a schedule or a sweep.
    """
    jobs = [item for item in yaml.safe_load_all(manifest) if item and item["kind"] == "Job"]
    if len(jobs) != 1 or _is_sweep(jobs[0]["spec"]):
        raise ConfigurationError(
            f"The release {release} does not have exactly one training run to follow: install a schedule or "
            "a sweep with helm itself."
        )
    return str(jobs[0]["metadata"]["name"])


def _is_sweep(spec: "Object") -> bool:
    """Return whether the indexes of a Job are independent runs. Those of a search end in one run."""
    if spec.get("completionMode") != "Indexed":
        return False
    containers = spec.get("template", {}).get("spec", {}).get("containers", [])
    return not any("--shard" in container.get("args", []) for container in containers)


def _completion_index(pod: "Object") -> int:
    """Return the index of a pod of an Indexed Job; 0 for any other."""
    annotations = pod["metadata"].get("annotations", {})
    return int(annotations.get("batch.kubernetes.io/job-completion-index", 0))


def find_reference(job: str, outcome: Outcome, log: Sequence[str]) -> str:
    """Return the bundle's reference, from the termination message or else from the log.

    Args:
        job: The Job's name.
        outcome: The outcome of the complete Job.
        log: The log of its last pod.

    Raises:
        ServerError: If neither has the reference, for example because the pod was deleted.
    """
    reference = parse_reference([outcome.message, *reversed(log)])
    if reference is None:
        raise ServerError(
            f"The Job {job} is complete, and neither the termination message nor the log of its pod has the "
            "reference: look it up in the store's channel."
        )
    return reference


def _true_conditions(job: "Object") -> dict[str, "Object"]:
    return {c["type"]: c for c in job.get("status", {}).get("conditions", []) if c["status"] == "True"}


def _describe_pods(pods: Sequence["Object"]) -> str:
    if not pods:
        return "for a pod"
    return waiting_reason(pods[-1]) or f"the pod is {pods[-1]['status'].get('phase', 'Pending').lower()}"


def _run_helm(*arguments: str) -> str:
    try:
        completed = subprocess.run(["helm", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise ConfigurationError(
            "The command 'helm' is not installed, and submit installs the chart with it: install helm."
        ) from None
    if completed.returncode != 0:
        raise ConfigurationError(f"helm {arguments[0]} failed: {completed.stderr.strip()}")
    return completed.stdout

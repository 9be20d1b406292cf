# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The commands ``tidegate rollout``: plan, start, status, promote, abort, rehearse, verdict and schema."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from tidegate.console import OutputFormat, OutputOption, print_result, stderr
from tidegate.errors import GateNotPassedError, NotFoundError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate_rollout.plan import PlannedStep, RolloutValues
    from tidegate_rollout.policy import RolloutPolicy
    from tidegate_rollout.replay import Replay
    from tidegate_rollout.report import RolloutReport
    from tidegate_rollout.room import ReplicaCapacity
    from tidegate_rollout.session import Session
    from tidegate_rollout.state import Result, RolloutState

app = typer.Typer(no_args_is_help=True, help="Roll a new digest out as a canary, with a verdict per step.")

ReleaseArgument = Annotated[
    str, typer.Argument(help="The Helm release, or the name of its InferenceService.")
]
DigestArgument = Annotated[str, typer.Argument(help="The new bundle's digest; 'tidegate push' prints it.")]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="The release's namespace; default: the context's.")
]
ChartOption = Annotated[
    str,
    typer.Option(
        envvar="TIDEGATE_CHART",
        help="The chart that the release has: a folder or a reference, such as oci://….",
    ),
]
PolicyOption = Annotated[Path | None, typer.Option(help="The policy file; docs/rollout.md has the fields.")]
CapacityOption = Annotated[
    Path | None, typer.Option(help="The capacity file of the stable track's bundle, for the room of a step.")
]
BundleOption = Annotated[
    str | None,
    typer.Option(
        help="The stable track's bundle, a reference or a directory: its golden rows and random rows "
        "are sent to both tracks where nothing mirrors requests."
    ),
]
OutOption = Annotated[Path | None, typer.Option(help="A folder for rollout.html and rollout.json.")]
MetricsPortOption = Annotated[
    int | None,
    typer.Option(help="A port for Prometheus, which serves /metrics during the command.", min=1, max=65535),
]
CHART = "helm/tidegate"
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


@app.command()
def plan(
    release: ReleaseArgument,
    digest: DigestArgument,
    namespace: NamespaceOption = None,
    policy: PolicyOption = None,
    values: Annotated[
        list[Path] | None,
        typer.Option(
            "--values",
            "-f",
            help="Values files of a release that Helm does not manage, such as Argo CD's. May repeat.",
        ),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(help="The replicas that all requests need; default: the stable track's.", min=1),
    ] = None,
    values_out: Annotated[
        Path | None, typer.Option(help="A folder for the values file of each step.")
    ] = None,
    chart: ChartOption = CHART,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Print the steps of a rollout, and write the values of each. Changes nothing."""
    from tidegate_rollout.plan import (
        RolloutValues,
        baseline_of,
        parse_digest,
        plan_rollout,
        policy_by_replicas,
    )
    from tidegate_rollout.room import read_scale

    new = parse_digest(digest)
    settings = load_policy(policy)
    if values:
        current = _merge_values(release, namespace, chart, values)
        before = RolloutValues.parse(current)
        replicas = replicas or before.min_replicas
    else:
        session = connect(release, namespace)
        current = session.deployed_values()
        before = RolloutValues.parse(current)
        replicas = replicas or read_scale(session.effects.read_release(), "stable").replicas
    by_replicas = not current["route"]["enabled"]
    if by_replicas:
        settings = policy_by_replicas(settings, replicas)
    steps = plan_rollout(baseline_of(before, new), new, settings, replicas, by_replicas=by_replicas)
    if values_out is not None:
        write_values(steps, values_out)
    payload = {
        "release": release,
        "digest": new,
        "steps": [
            {
                "name": step.name,
                "purpose": step.purpose,
                "measured": step.measured,
                "values": step.values.chart_values(),
            }
            for step in steps
        ],
    }
    print_result(output, payload, _plan_table(steps, before))


@app.command()
def start(
    release: ReleaseArgument,
    digest: DigestArgument,
    namespace: NamespaceOption = None,
    policy: PolicyOption = None,
    capacity: CapacityOption = None,
    bundle: BundleOption = None,
    metrics_port: MetricsPortOption = None,
    out: OutOption = None,
    chart: ChartOption = CHART,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Roll a digest out: mirror, rising weights with a verdict each, promotion.

    A rollout that was killed or held continues at its step. Exits with 0 if the digest is promoted, with 3 if
    the verdict stopped or holds the rollout, with 2 if the configuration does not allow it, and with 1
    otherwise.
    """
    from tidegate_rollout.plan import parse_digest
    from tidegate_rollout.state import Result

    session = connect(release, namespace, chart, metrics_port)
    given = None if policy is None else load_policy(policy)
    replay = None if bundle is None else _load_replay(session, bundle)
    state = session.start(parse_digest(digest), given, capacity=_load_capacity(capacity), replay=replay)
    _finish(session, state, Result.PROMOTED, out, output)


@app.command()
def rehearse(
    release: ReleaseArgument,
    namespace: NamespaceOption = None,
    policy: PolicyOption = None,
    rounds: Annotated[int, typer.Option(help="The number of rollouts to rehearse.", min=1)] = 1,
    capacity: CapacityOption = None,
    metrics_port: MetricsPortOption = None,
    out: OutOption = None,
    chart: ChartOption = CHART,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Roll the release's own digest out as its canary, without a promotion.

    Both tracks are equal, so each failed verdict is a false alarm. The result counts the rounds that the gate
    would have stopped or held. Exits with 0 for every verdict, and with 3 if the rehearsal itself is held or
    aborted.
    """
    from tidegate_rollout.state import Result

    session = connect(release, namespace, chart, metrics_port)
    given = None if policy is None else load_policy(policy)
    state = session.start(None, given, rounds=rounds, capacity=_load_capacity(capacity))
    _finish(session, state, Result.REHEARSED, out, output)


@app.command()
def promote(
    release: ReleaseArgument,
    namespace: NamespaceOption = None,
    out: OutOption = None,
    chart: ChartOption = CHART,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Promote the canary of a rollout in progress or held, without further verdicts."""
    from tidegate_rollout.state import Result

    session = connect(release, namespace, chart)
    _finish(session, session.request("promote"), Result.PROMOTED, out, output)


@app.command()
def abort(
    release: ReleaseArgument,
    namespace: NamespaceOption = None,
    out: OutOption = None,
    chart: ChartOption = CHART,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Return all requests to the stable track, and then remove the canary."""
    from tidegate_rollout.state import Result

    session = connect(release, namespace, chart)
    _finish(session, session.request("abort"), Result.ABORTED, out, output)


@app.command()
def status(
    release: ReleaseArgument,
    namespace: NamespaceOption = None,
    out: OutOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the rollout in progress, or the last one: its steps, the verdict and the reasons."""
    session = connect(release, namespace)
    if (state := session.last_state()) is None:
        raise NotFoundError(f"{release} has had no rollout: start one with 'tidegate rollout start'.")
    _print_report(session, state, out, output)


@app.command()
def schema() -> None:
    """Print the JSON schema of policy files, by which editors check and complete them."""
    from tidegate_rollout.policy import RolloutPolicy

    typer.echo(json.dumps(RolloutPolicy.model_json_schema(), indent=2, ensure_ascii=False))


@app.command()
def verdict(
    release: ReleaseArgument,
    namespace: NamespaceOption = None,
    policy: PolicyOption = None,
    out: OutOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Measure the canary's present traffic until the verdict, for a pipeline that changes the release itself.

    Changes nothing. Exits with 0 if the step passes, and with 3 if it fails or has too little evidence.
    """
    from tidegate_rollout.present import judge_present_step

    session = connect(release, namespace)
    effects = session.effects
    state, reached = judge_present_step(
        effects.read_release,
        effects.get,
        load_policy(policy),
        clock=effects.clock,
        sleep=effects.sleep,
        notice=effects.report.notice,
    )
    _print_report(session, state, out, output)
    if reached.outcome != "pass":
        raise GateNotPassedError(
            f"The verdict about {release} is {reached.outcome}: {'; '.join(reached.reasons)}."
        )


def connect(
    name: str, namespace: str | None, chart: str = CHART, metrics_port: int | None = None
) -> "Session":
    """Return the access to a release on the cluster of the current context.

    Args:
        name: The Helm release, or the name of its InferenceService.
        namespace: The release's namespace; None for the context's.
        chart: The release's chart, for upgrades.
        metrics_port: The port for Prometheus; None for no metrics.

    Raises:
        NotFoundError: If the namespace has no release of this name.
        ServerError: If the cluster is unreachable or fails.
        ConfigurationError: If the cluster denies access, or the port cannot be opened.
    """
    from tidegate.kubernetes.client import Cluster
    from tidegate_rollout.cluster import EventRecorder, KubernetesLeases, PodClient
    from tidegate_rollout.controller import Effects
    from tidegate_rollout.helm import Helm
    from tidegate_rollout.lease import Identity, RolloutLease, is_process_alive
    from tidegate_rollout.metrics import MetricsServer
    from tidegate_rollout.progress import Progress
    from tidegate_rollout.release import COMPONENT_LABEL, INSTANCE_LABEL, read_release, read_services
    from tidegate_rollout.session import Session

    cluster = Cluster()
    namespace = namespace or cluster.namespace()
    services = read_services(cluster, name, namespace)
    stable = next(it for it in services if it["metadata"]["labels"][COMPONENT_LABEL] == "stable")
    lease = RolloutLease(
        KubernetesLeases(namespace),
        stable["metadata"]["name"],
        Identity.of_this_process(),
        clock=lambda: datetime.now(UTC),
        is_alive=is_process_alive,
    )
    release = stable["metadata"]["labels"][INSTANCE_LABEL]
    pods, events = PodClient(namespace), EventRecorder(stable)
    progress = (
        Progress(events, _print_line)
        if metrics_port is None
        else Progress(events, _print_line, MetricsServer(stable["metadata"]["name"], metrics_port).show)
    )
    effects = Effects(
        helm=Helm(release, namespace, chart, on_wait=lease.keep),
        read_release=lambda: read_release(cluster, name, namespace),
        get=pods.get,
        store=lease,
        report=progress,
        clock=time.time,
        sleep=time.sleep,
    )
    return Session(name, namespace, effects, lease, pods.post)


def load_policy(file: Path | None) -> "RolloutPolicy":
    """Read a policy file; the defaults without one."""
    from tidegate.settings import load_yaml
    from tidegate_rollout.policy import RolloutPolicy

    return RolloutPolicy() if file is None else load_yaml(file, RolloutPolicy)


def write_values(steps: "Sequence[PlannedStep]", folder: Path) -> None:
    """Write the values of each step to a file: ``01-start.yaml`` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(steps, 1):
        text = yaml.safe_dump(step.values.chart_values(), sort_keys=False)
        ending = "a verdict" if step.measured else "'tidegate status --wait'"
        file = folder / f"{number:02}-{step.name}.yaml"
        file.write_text(f"# {step.purpose}. The step ends with {ending}.\n{text}", encoding="utf-8")


def _merge_values(
    release: str, namespace: str | None, chart: str, files: "Sequence[Path]"
) -> Mapping[str, Any]:
    """Return the chart's defaults with the values files of another tool."""
    from tidegate.settings import Document
    from tidegate_rollout.helm import Helm, merge

    helm = Helm(release, namespace or "default", chart)
    helm.verify_version()
    return reduce(merge, [Document.read(file).values for file in files], helm.default_values())


def _load_replay(session: "Session", bundle: str) -> "Replay":
    """Read a bundle's contract, and return the requests that it allows."""
    import tempfile

    from tidegate.store import fetch
    from tidegate_rollout.replay import Replay
    from tidegate_rollout.status import model_name

    with tempfile.TemporaryDirectory(prefix="tidegate-bundle-") as cache:
        contract = fetch(bundle, Path(cache)).contract
    return Replay(contract, model_name(session.effects.read_release()), session.post)


def _load_capacity(file: Path | None) -> "ReplicaCapacity | None":
    from tidegate_rollout.room import ReplicaCapacity

    return None if file is None else ReplicaCapacity.load(file)


def _finish(
    session: "Session", state: "RolloutState", expected: "Result", out: Path | None, output: OutputFormat
) -> None:
    """Print the report, and end with exit code 3 if the result is another than the command's."""
    _print_report(session, state, out, output)
    if state.result is not expected:
        raise GateNotPassedError(
            f"The rollout of {session.release} is {state.result}: {state.reason.rstrip('.')}."
        )


def _print_report(session: "Session", state: "RolloutState", out: Path | None, output: OutputFormat) -> None:
    from tidegate_rollout.report import RolloutReport

    report = RolloutReport(session.release, session.namespace, state)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "rollout.html").write_text(report.html(), encoding="utf-8")
        (out / "rollout.json").write_text(json.dumps(report.document, indent=2), encoding="utf-8")
        _print_line(f"report: {out / 'rollout.html'}")
    print_result(output, report.document, _report_table(report))


def _plan_table(steps: "Sequence[PlannedStep]", before: "RolloutValues") -> "RenderableType":
    """Return the steps, each with the values that differ from those of the step before."""
    from rich.table import Table

    table = Table("step", "ends with", "changed values", box=None, pad_edge=False)
    for step in steps:
        changes = changed_values(before, step.values)
        table.add_row(
            step.name, "verdict" if step.measured else "ready", _DIGEST.sub(r"\1…", " ".join(changes))
        )
        before = step.values
    return table


def _report_table(report: "RolloutReport") -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    state = report.state
    table = Table("step", "seconds", "outcome", "", box=None, pad_edge=False)
    for record in state.records:
        seconds = f"{record.ended_at - record.started_at:.0f}"
        table.add_row(record.step, seconds, record.outcome, Text(record.reason))
    if not state.has_ended:
        table.add_row(state.step, "", report.outcome, Text(state.reason))
    return Group(Text(f"{report.outcome}: {report.headline}"), table, *map(Text, _rehearsal_lines(state)))


def _print_line(text: str) -> None:
    stderr.print(text, soft_wrap=True)


def changed_values(before: "RolloutValues", after: "RolloutValues") -> list[str]:
    """Return the values that a step changes, as ``key=value``."""
    old, new = (dict(_flatten(values.chart_values())) for values in (before, after))
    return [f"{key}={json.dumps(value)}" for key, value in new.items() if old[key] != value]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _rehearsal_lines(state: "RolloutState") -> Iterator[str]:
    """Yield how often the gate would have fired, for a rehearsal."""
    from tidegate_rollout.state import Course

    if state.course is Course.REHEARSAL:
        outcomes = [record.outcome for record in state.records]
        fired, held, passed = (outcomes.count(name) for name in ("fail", "insufficient", "pass"))
        yield (
            f"The gate would have stopped {fired} of {state.rehearsed_rounds} rounds, and held {held}; "
            f"{passed} verdicts passed."
        )

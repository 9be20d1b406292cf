# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``tidegate status``: show what a release serves, and wait until it is ready."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.console import OutputFormat, OutputOption, print_result, stderr
from tidegate.errors import ConfigurationError, ServerError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate.kubernetes.client import Cluster
    from tidegate_rollout.status import Status

_POLL_SECONDS = 1.0


def status(
    name: Annotated[str, typer.Argument(help="The Helm release, or the name of its InferenceService.")],
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="The release's namespace; default: the context's.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the release is ready.")] = False,
    timeout: Annotated[float, typer.Option(help="The longest wait in seconds.", min=0)] = 300,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show each track's digest, replicas and weight.

    Exits with 0 if the release is ready. Exits with 2 if waiting is useless, for example because of a
    wrong digest or a quota that is too small, or if the cluster denies access. Exits with 1 otherwise.
    """
    from tidegate.kubernetes.client import Cluster

    cluster = Cluster()
    namespace = namespace or cluster.namespace()
    deadline, printed, failed = time.monotonic() + timeout, "", False
    while True:
        observed = _observe(cluster, name, namespace, tolerate_failures=wait)
        # Right after an upgrade, KServe's condition can still be that of the previous revision.
        repeated, failed = failed and observed.error is not None, observed.error is not None
        if not wait or not observed.pending or repeated or time.monotonic() > deadline:
            break
        if (pending := "; ".join(observed.pending)) != printed:
            printed = pending
            stderr.print(f"pending: {pending}", soft_wrap=True, markup=False)
        time.sleep(_POLL_SECONDS)
    print_result(output, _payload(observed), _table(observed))
    if observed.error:
        raise ConfigurationError(f"{name} cannot become ready: {observed.error}")
    if observed.pending:
        waited = f" after {timeout:g} s" if wait else ""
        # A pending reason may be a sentence of its own, such as a pod's termination message.
        reasons = "; ".join(reason.rstrip(".") for reason in observed.pending)
        raise ServerError(f"{name} is not ready{waited}: {reasons}.")


def _observe(cluster: "Cluster", name: str, namespace: str, *, tolerate_failures: bool) -> "Status":
    """Read and assess the release. A failure of the cluster can count as a pending condition."""
    from tidegate_rollout.release import read_release
    from tidegate_rollout.status import Status, assess

    try:
        return assess(read_release(cluster, name, namespace))
    except ServerError as error:
        if not tolerate_failures:
            raise
        return Status(name, (), (str(error).rstrip("."),))


def _payload(observed: "Status") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "release": observed.release,
        "ready": not observed.pending,
        "pending": list(observed.pending),
        "tracks": [asdict(track) for track in observed.tracks],
    }


def _table(observed: "Status") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table("track", "digest", "replicas", "weight", "", box=None, pad_edge=False)
    for track in observed.tracks:
        weight = "" if track.weight is None else f"{track.weight} %"
        state = Text("pending", "yellow") if track.pending else Text("ready", "green")
        table.add_row(track.track, track.digest[:12], f"{track.replicas}/{track.desired}", weight, state)
    return table

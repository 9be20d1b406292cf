# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``tidegate status``: what a release serves, and waiting until it serves what was asked."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.console import OutputFormat, OutputOption, emit, stderr
from tidegate.errors import ConfigurationError, ServerError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate.kubernetes.client import Cluster
    from tidegate_rollout.status import Status

_LOOK_SECONDS = 1.0


def status(
    name: Annotated[str, typer.Argument(help="The Helm release.")],
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Its namespace; by default the context's.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the release serves what was asked.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="How many seconds to wait.", min=0)] = 300,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show which digest each track serves, with how many replicas and which share; say what is missing.

    Exits with 0 if nothing is missing, with 2 if a pod said that it will never start (for a wrong digest,
    say) or the cluster does not let you look, and with 1 otherwise.
    """
    from tidegate.kubernetes.client import Cluster

    cluster = Cluster()
    place = namespace or cluster.namespace()
    until, told = time.monotonic() + timeout, ""
    while True:
        seen = _look(cluster, name, place, wait)
        if not wait or not seen.waiting or seen.refusal or time.monotonic() > until:
            break
        if (now := "; ".join(seen.waiting)) != told:
            told = now
            stderr.print(f"waiting: {now}", soft_wrap=True, markup=False)
        time.sleep(_LOOK_SECONDS)
    emit(output, _payload(seen), _picture(seen))
    if seen.refusal:
        raise ConfigurationError(f"{name} will not start: {seen.refusal}")
    if seen.waiting:
        waited = f" after {timeout:g} s" if wait else ""
        raise ServerError(f"{name} is not ready{waited}: {'; '.join(seen.waiting)}.")


def _look(cluster: "Cluster", name: str, namespace: str, wait: bool) -> "Status":
    """See what the release serves; while waiting, an answer of the cluster is one more thing to wait for."""
    from tidegate_rollout.release import read_release
    from tidegate_rollout.status import Status, assess

    try:
        return assess(read_release(cluster, name, namespace))
    except ServerError as error:
        if not wait:
            raise
        return Status(name, (), (str(error).rstrip("."),))


def _payload(seen: "Status") -> dict[str, Any]:
    from dataclasses import asdict

    return {"release": seen.release, "ready": not seen.waiting, "waiting": list(seen.waiting)} | {
        "tracks": [asdict(track) for track in seen.tracks]
    }


def _picture(seen: "Status") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table("track", "digest", "replicas", "share", "", box=None, pad_edge=False)
    for track in seen.tracks:
        share = "" if track.weight is None else f"{track.weight} %"
        state = Text("waiting", "yellow") if track.waiting else Text("ready", "green")
        table.add_row(track.track, track.digest[:12], f"{track.replicas}/{track.wanted}", share, state)
    return table

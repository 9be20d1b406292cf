# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The campaign: starts the generator_cpu, or the master of several, watches it, and reads its record.

What the record means is not decided here.
"""

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tidegate.contract import Contract
from tidegate.errors import ConfigurationError, ServerError, TidegateError
from tidegate_loadtests import generator_cpu
from tidegate_loadtests.generator_cpu import Generator, Tick
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.run_config import Assignment
from tidegate_loadtests.run_status import State
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.worker_pool import START_SECONDS, Team, started

SAMPLES = "samples.csv"
LOG = "locust.log"

_LOOK_SECONDS = 0.5
_CONNECT_PAUSES = (0.5, 1.0, 2.0)
"""The seconds between tries to connect: a pod that has just started may not find a name or a way yet."""
_WORKERS_SECONDS = 600.0
"""How long the workers may take to come: time for a cluster to find them a node and to pull an image."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign is: seconds of load so far, None before it begins, and what is recorded by now."""

    seconds: float | None
    requests: int
    failures: int
    workers: int
    """Those that are ready."""


def run(
    plan: LoadTest,
    contract: Contract,
    url: str,
    directory: Path,
    on_progress: Callable[[Progress], None],
    team: Team | None = None,
) -> tuple[Samples, tuple[Generator, ...]]:
    """Run a campaign to its end.

    Args:
        plan: The load.
        contract: The contract of the model that is asked.
        url: The server's root, ``http://…`` or ``https://…``.
        directory: Where ``samples.csv`` and ``locust.log`` go; it must exist.
        on_progress: Called about twice a second.
        team: The workers that make the load; None if one process here makes it.

    Returns:
        The raw samples, and how busy each generator was within the measured time.

    Raises:
        ConfigurationError: The address is none, the core is not there, or the plan is not for workers.
        ServerError: The server does not answer for this model.
        TidegateError: The generator failed, or a worker did not come or was lost.
    """
    core = generator_cpu.choose_core(plan.core) if team is None else None
    if team is not None:
        check_team(plan, team)
    ask_readiness(url, contract.name, plan.timeout)
    with tempfile.TemporaryDirectory(prefix="tidegate-loadtest-") as scratch:
        assignment = Assignment(
            plan=plan,
            contract=contract,
            samples=directory.resolve() / SAMPLES,
            state=Path(scratch) / "state.json",
        )
        assignment.samples.unlink(missing_ok=True)
        with started(assignment, url, team, Path(scratch), directory / LOG) as process:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            ticks = _watch(process, assignment, team, directory / LOG, on_progress)
        state = State.read(assignment.state)
    if state.zero is None:
        raise TidegateError(f"The load generator ended before it began; its log is {directory / LOG}.")
    samples = Samples.read(assignment.samples)
    if team is not None:
        return samples, state.generators
    return samples, (generator_cpu.assess(ticks, state.zero, state.zero + plan.duration, core),)


def check_team(plan: LoadTest, team: Team) -> None:
    """Refuse a plan that workers cannot share, and an address that the master cannot have.

    Raises:
        ConfigurationError: It is so.
    """
    if plan.core is not None:
        raise ConfigurationError(
            f"'core' ({plan.core}) is a core of this machine, and {team.workers} workers on any machine make "
            "the load: leave it out."
        )
    if plan.concurrency < team.workers:
        raise ConfigurationError(
            f"{plan.concurrency} connections cannot be shared by {team.workers} workers, as each needs one: "
            "raise 'connections' or 'users', or take fewer workers."
        )
    host, port = team.bind.host, team.bind.port
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server(("" if host == "*" else host, port), family=family).close()
    except OSError as error:
        raise ConfigurationError(
            f"The master cannot listen at {host}:{port} ({error.strerror or error}): correct --bind, or end "
            "what listens there."
        ) from None


def ask_readiness(url: str, name: str, timeout: float) -> None:
    """Ask whether the server is ready to answer for a model, so that a mistake costs no campaign.

    A connection is tried for some seconds; an answer is the answer.

    Raises:
        ConfigurationError: The address is none.
        ServerError: It is not, or there is no such server.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"'{url}' is no address of a server: expected http://… or https://….")
    address = f"{url.rstrip('/')}/v2/models/{name}/ready"
    # The generator uses no proxy, so neither does this.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with _connected(lambda: opener.open(address, timeout=timeout)):
            return
    except urllib.error.HTTPError as error:
        error.close()
        problem = f"answered with status {error.code}, expected 200"
    except urllib.error.URLError as error:
        problem = f"did not answer ({error.reason})"
    except (OSError, ValueError) as error:
        problem = f"did not answer ({error})"
    raise ServerError(f"{address} {problem}: start the server for this model, or correct --url.")


def _connected(ask: Callable[[], Any]) -> Any:
    """The answer to a question, which is asked again only as long as no connection has carried it."""
    for pause in _CONNECT_PAUSES:
        try:
            return ask()
        except urllib.error.URLError as error:
            if not isinstance(error.reason, (ConnectionRefusedError, socket.gaierror)):
                raise
            time.sleep(pause)
    return ask()


def _watch(
    process: subprocess.Popen[bytes],
    assignment: Assignment,
    team: Team | None,
    log: Path,
    on_progress: Callable[[Progress], None],
) -> list[Tick]:
    """Follow the generator until it has ended.

    Raises:
        TidegateError: It failed, or did not begin or end in time.
    """
    plan, ticks, tally = assignment.plan, [], _Tally(assignment.samples)
    watched = psutil.Process(process.pid)
    begin_by = time.monotonic() + (START_SECONDS if team is None else _WORKERS_SECONDS)
    while True:
        try:
            code = process.wait(timeout=_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        state, now = State.read(assignment.state), time.monotonic()
        seconds = None if state.zero is None else now - state.zero + plan.warmup
        on_progress(Progress(seconds, *tally.read(), state.workers))
        if state.problem is not None:
            raise TidegateError(f"The campaign decides nothing: {state.problem}.")
        if code is not None:
            break
        if (tick := generator_cpu.look(watched)) is not None:
            ticks.append(tick)
        if state.zero is None and now > begin_by:
            raise TidegateError(_absence(state, team, log))
        if state.zero is not None and now > state.zero + plan.duration + 2 * plan.timeout + START_SECONDS:
            raise TidegateError(f"The load generator did not end in time; its log is {log}.")
    if code != 0:
        raise TidegateError(f"The load generator failed with exit code {code}; its log is {log}.")
    return ticks


def _absence(state: State, team: Team | None, log: Path) -> str:
    if team is None or state.workers == team.workers:
        return f"The load generator did not begin in time; its log is {log}."
    return (
        f"The campaign decides nothing: of {team.workers} workers {state.workers} came within "
        f"{_WORKERS_SECONDS:g} s; start each by 'tidegate loadtest work --master HOST:{team.bind.port}', "
        "where HOST is this machine."
    )


class _Tally:
    """Counts requests and failures of a record that is still being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._requests = -1  # the header
        self._failures = 0

    def read(self) -> tuple[int, int]:
        """Requests and failures so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._position)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._position += len(line)
                    self._requests += 1
                    # The last column is the error.
                    self._failures += self._requests > 0 and not line.endswith(b",\n")
        return max(0, self._requests), self._failures

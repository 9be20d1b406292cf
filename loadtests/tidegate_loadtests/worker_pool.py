# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The process: how Locust is started, alone, as the master of workers, or as one of them.

It runs in a process of its own because it replaces the standard library's sockets, and because it is to be
pinned to a core and measured apart. What it does there is the locustfile's business.
"""

import math
import os
import site
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from tidegate.errors import ConfigurationError
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.run_config import Assignment

PORT = 5557
"""Where Locust's master listens, unless told otherwise."""
START_SECONDS = 60.0
"""How long the generator may take to start and, after the last answer, to end."""

_LOCUST = [
    *(sys.executable, "-m", "locust", "--locustfile", str(Path(__file__).with_name("locust") / "locustfile.py")),
    # Failed requests are in the record; a non-zero code is to mean that the generator itself failed.
    *("--headless", "--only-summary", "--exit-code-on-error", "0"),
]


@dataclass(frozen=True, slots=True)
class Address:
    """Where the master listens, or is."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST`` or ``HOST:PORT``; the host ``*`` means every interface.

        >>> Address.parse("*"), Address.parse("[::1]:7000")
        (Address(host='*', port=5557), Address(host='::1', port=7000))

        Raises:
            ConfigurationError: It is no such address.
        """
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            host, port = text, str(PORT)
        host = host.removeprefix("[").removesuffix("]")
        if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigurationError(f"'{text}' is no address of a master: expected HOST or HOST:PORT.")
        return cls(host, int(port))


@dataclass(frozen=True, slots=True)
class Team:
    """The workers of a campaign: how many, and where they find the master."""

    workers: int
    bind: Address


@contextmanager
def started(
    assignment: Assignment, url: str, team: Team | None, scratch: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Locust with an assignment; it is gone when the block is left."""
    told = scratch / "assignment.json"
    told.write_text(assignment.model_dump_json(), encoding="utf-8")
    command = [*_LOCUST, "--host", url.rstrip("/"), "--assignment", str(told)]
    command += _alone(assignment.plan) if team is None else _master(assignment.plan, team)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=scratch,
            env=_environment(scratch),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def become_worker(master: Address) -> NoReturn:
    """Go on as a worker: Locust takes this process's place, and so its signals and its exit code."""
    os.chdir("/")
    where = ["--worker", "--master-host", master.host, "--master-port", str(master.port)]
    os.execve(sys.executable, [*_LOCUST, *where], _environment(Path("/")))


def _alone(plan: LoadTest) -> list[str]:
    return [
        *("--users", str(plan.concurrency), "--spawn-rate", str(plan.concurrency)),
        *("--run-time", f"{math.ceil(plan.warmup + plan.duration)}s"),
        # Users end by themselves, at the latest two timeouts after the last intended start: one until a
        # connection is free and one for the answer. Making them took its time too. Nothing is cut off.
        *("--stop-timeout", str(math.ceil(2 * plan.timeout + START_SECONDS))),
    ]


def _master(plan: LoadTest, team: Team) -> list[str]:
    # Without a run time: the master ends when every worker has said that its users have.
    return [
        *("--users", str(plan.concurrency), "--spawn-rate", str(plan.concurrency)),
        *("--master", "--master-bind-host", team.bind.host, "--master-bind-port", str(team.bind.port)),
        *("--expect-workers", str(team.workers)),
    ]


def _environment(home: Path) -> dict[str, str]:
    # Locust reads options from its environment, the home directory and the working directory: none of them
    # is to have a say in what is measured.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LOCUST_")}
    return environment | {
        "HOME": str(home),
        "PYTHONUSERBASE": site.getuserbase(),
        # How long a master waits until every worker has made its users; one second if left out.
        "LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP": str(START_SECONDS),
    }

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Locust process: how Locust starts, alone, as the master of workers, or as one worker.

Locust runs in a process of its own because it replaces the standard library's sockets. The runner also pins
the process to a CPU and measures it. The locustfile defines the process's work.
"""

import math
import os
import site
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.run_files import RunConfig
from tidegate_loadtests.worker_pool import WorkerPool

START_TIMEOUT_SECONDS = 60.0
"""Time that the load generator has to start and, after the last response, to end."""

_TERMINATE_TIMEOUT_SECONDS = 5.0

# By path and not by module name: Locust takes a locustfile as a file.
_LOCUSTFILE = Path(__file__).parent / "locust" / "locustfile.py"
_LOCUST = [
    *(sys.executable, "-m", "locust", "--locustfile", str(_LOCUSTFILE)),
    # Failed requests are in the samples; a nonzero code means only that the generator itself failed.
    *("--headless", "--only-summary", "--exit-code-on-error", "0"),
]


@contextmanager
def locust_process(
    config: RunConfig, url: str, pool: WorkerPool | None, scratch: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start Locust with a run configuration, and end it when the block ends.

    Args:
        config: The configuration.
        url: The server's base URL.
        pool: The workers of which Locust is the master; None if Locust makes the load itself.
        scratch: An empty directory for the process.
        log: The file for the process's output.
    """
    config_path = scratch / "config.json"
    config_path.write_text(config.model_dump_json(), encoding="utf-8")
    command = [*_LOCUST, "--host", url.rstrip("/"), "--run-config", str(config_path)]
    command += _standalone_options(config.plan) if pool is None else _master_options(config.plan, pool)
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
                process.wait(timeout=_TERMINATE_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def exec_worker(master_host: str, master_port: int) -> NoReturn:
    """Replace this process by a Locust worker, so that signals and the exit code are the worker's."""
    os.chdir("/")
    address = ["--worker", "--master-host", master_host, "--master-port", str(master_port)]
    os.execve(sys.executable, [*_LOCUST, *address], _environment(Path("/")))


def _standalone_options(plan: LoadTest) -> list[str]:
    return [
        *("--users", str(plan.concurrency), "--spawn-rate", str(plan.concurrency)),
        *("--run-time", f"{math.ceil(plan.warmup + plan.duration)}s"),
        # Users stop by themselves, at the latest two timeouts after the last intended start: one until a
        # connection is free, one for the response. The rest is for their creation, so none is cut off.
        *("--stop-timeout", str(math.ceil(2 * plan.timeout + START_TIMEOUT_SECONDS))),
    ]


def _master_options(plan: LoadTest, pool: WorkerPool) -> list[str]:
    # Without a run time, because the master ends when every worker has reported that its users have stopped.
    return [
        *("--users", str(plan.concurrency), "--spawn-rate", str(plan.concurrency)),
        *("--master", "--master-bind-host", pool.bind_host, "--master-bind-port", str(pool.bind_port)),
        *("--expect-workers", str(pool.workers)),
    ]


def _environment(home: Path) -> dict[str, str]:
    # Locust reads options from its environment, the home directory and the working directory. None of them
    # may change a measurement.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LOCUST_")}
    return environment | {
        "HOME": str(home),
        "PYTHONUSERBASE": site.getuserbase(),
        # The default of one second is too short for every worker to create its users.
        "LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP": str(START_TIMEOUT_SECONDS),
    }

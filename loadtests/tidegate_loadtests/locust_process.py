# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Locust process: how Locust starts, alone, as the master of workers, or as one worker.

Locust runs in a process of its own because it replaces the standard library's sockets. The runner also pins
the process to a CPU and measures it. The locustfile defines the process's work.
"""

import math
import os
import site
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tidegate.errors import ConfigurationError
from tidegate_loadtests.run_files import RunConfig
from tidegate_loadtests.worker_pool import WorkerPool

START_TIMEOUT_SECONDS = 60.0
"""Time that the load generator has to start and, after the last response, to end."""

_TERMINATE_TIMEOUT_SECONDS = 5.0
_WEB_HOST = "127.0.0.1"

# By path and not by module name: Locust takes a locustfile as a file.
_LOCUSTFILE = Path(__file__).parent / "locust" / "locustfile.py"
_LOCUST = [
    *(sys.executable, "-m", "locust", "--locustfile", str(_LOCUSTFILE)),
    # Failed requests are in the samples; a nonzero code means only that the generator itself failed.
    *("--only-summary", "--exit-code-on-error", "0"),
]


@dataclass(frozen=True, slots=True)
class LocustOutputs:
    """Locust's own views of a campaign. Their latencies count from the intended start as well."""

    web_port: int | None = None
    """The port of Locust's page on this machine while the campaign runs; None for no page."""
    csv_prefix: Path | None = None
    """The beginning of the names of Locust's CSV files."""
    html: Path | None = None
    """Locust's HTML report."""

    def verify(self) -> None:
        """Verify that the page can be shown, because Locust would find out after the campaign.

        Raises:
            ConfigurationError: If the port is in use.
        """
        if self.web_port is None:
            return
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_WEB_HOST, self.web_port))
            except OSError as error:
                raise ConfigurationError(
                    f"--web-port: {self.web_port} cannot be opened ({error.strerror}): choose another port."
                ) from None

    @property
    def options(self) -> list[str]:
        """Locust's options. The campaign starts and ends by itself, with and without the page."""
        if self.web_port is None:
            options = ["--headless"]
        else:
            options = ["--autostart", "--autoquit", "0"]
            options += ["--web-host", _WEB_HOST, "--web-port", str(self.web_port)]
        if self.csv_prefix is not None:
            options += ["--csv", str(self.csv_prefix.absolute())]
        if self.html is not None:
            options += ["--html", str(self.html.absolute())]
        return options


@contextmanager
def locust_process(
    config: RunConfig, outputs: LocustOutputs, pool: WorkerPool | None, scratch: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start Locust with a run configuration, and end it when the block ends.

    Args:
        config: The configuration.
        outputs: Locust's own views.
        pool: The workers of which Locust is the master; None if Locust makes the load itself.
        scratch: An empty directory for the process.
        log: The file for the process's output.
    """
    config_path = scratch / "config.json"
    config_path.write_text(config.model_dump_json(), encoding="utf-8")
    target = config.campaign.target
    host = f"http://{target.grpc_url}" if target.url is None else target.url.rstrip("/")
    command = [*_LOCUST, *outputs.options, "--host", host, "--run-config", str(config_path)]
    # Users stop by themselves, at the latest two timeouts after the last intended start: one until a
    # connection is free, one for the response. The rest is for their creation, so none is cut off.
    stop_timeout = math.ceil(2 * config.campaign.timeout + START_TIMEOUT_SECONDS)
    command += ["--stop-timeout", str(stop_timeout)]
    if pool is not None:
        command += ["--master", "--master-bind-host", pool.bind_host]
        command += ["--master-bind-port", str(pool.bind_port), "--expect-workers", str(pool.workers)]
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
    os.execve(sys.executable, [*_LOCUST, "--headless", *address], _environment(Path("/")))


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

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The runner: runs one campaign. It starts the Locust process, monitors it, and reads its samples.

The verdict on the samples is decided elsewhere.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tidegate.contract import Contract
from tidegate.errors import TidegateError
from tidegate_loadtests import generator_cpu
from tidegate_loadtests.generator_cpu import CpuTimes, Generator
from tidegate_loadtests.locust_process import START_TIMEOUT_SECONDS, locust_process
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.readiness import verify_readiness
from tidegate_loadtests.run_files import RunConfig, RunStatus
from tidegate_loadtests.samples import SampleCounter, Samples
from tidegate_loadtests.worker_pool import WorkerPool, validate_worker_pool

SAMPLES = "samples.csv"
LOG = "locust.log"

_POLL_SECONDS = 0.5
_WORKERS_TIMEOUT_SECONDS = 600.0
"""Time for all workers to connect: a cluster may have to add a node and to pull an image."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a campaign."""

    elapsed_seconds: float | None
    """Seconds since the start of the warm-up; None before it starts."""
    requests: int
    failures: int
    ready_workers: int


def run(
    plan: LoadTest,
    contract: Contract,
    url: str,
    directory: Path,
    on_progress: Callable[[Progress], None],
    pool: WorkerPool | None = None,
) -> tuple[Samples, tuple[Generator, ...]]:
    """Run a campaign to its end.

    Args:
        plan: The load.
        contract: The contract of the model that the server serves.
        url: The server's base URL, ``http://…`` or ``https://…``.
        directory: An existing directory for ``samples.csv`` and ``locust.log``.
        on_progress: Called about twice per second.
        pool: The workers that make the load; None if one process on this machine makes it.

    Returns:
        The raw samples, and the CPU use of each generator in the measured time.

    Raises:
        ConfigurationError: If the URL, the CPU or the worker pool is not valid.
        ServerError: If the server is not ready for this model.
        TidegateError: If the generator failed, or a worker did not connect or was lost.
    """
    cpu = None
    if pool is None:
        cpu = generator_cpu.select_cpu(plan.cpu)
    else:
        validate_worker_pool(plan, pool)
    verify_readiness(url, contract.name, plan.timeout)
    log = directory / LOG
    with tempfile.TemporaryDirectory(prefix="tidegate-loadtest-") as scratch:
        config = RunConfig(
            plan=plan,
            contract=contract,
            samples_path=directory.resolve() / SAMPLES,
            status_path=Path(scratch) / "status.json",
        )
        config.samples_path.unlink(missing_ok=True)
        with locust_process(config, url, pool, Path(scratch), log) as process:
            if cpu is not None:
                os.sched_setaffinity(process.pid, {cpu})
            measurements = _monitor(process, config, pool, log, on_progress)
        status = RunStatus.read(config.status_path)
    start = status.measure_start
    if start is None:
        raise TidegateError(f"The load generator ended before the load started: see its log {log}.")
    samples = Samples.read(config.samples_path)
    if pool is not None:
        return samples, status.generators
    return samples, (generator_cpu.measure_generator(measurements, start, start + plan.duration, cpu),)


def _monitor(
    process: subprocess.Popen[bytes],
    config: RunConfig,
    pool: WorkerPool | None,
    log: Path,
    on_progress: Callable[[Progress], None],
) -> list[CpuTimes]:
    """Monitor the Locust process until it ends; return its CPU times.

    Raises:
        TidegateError: If the process failed, or did not start the load or end in time.
    """
    plan, counter = config.plan, SampleCounter(config.samples_path)
    monitored = psutil.Process(process.pid)
    measurements: list[CpuTimes] = []
    start_timeout = START_TIMEOUT_SECONDS if pool is None else _WORKERS_TIMEOUT_SECONDS
    start_deadline = time.monotonic() + start_timeout
    while True:
        try:
            exit_code = process.wait(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            exit_code = None
        status, now = RunStatus.read(config.status_path), time.monotonic()
        elapsed = None if status.measure_start is None else now - status.measure_start + plan.warmup
        on_progress(Progress(elapsed, *counter.read(), status.ready_workers))
        if status.inconclusive_reason is not None:
            raise TidegateError(f"The load test is inconclusive: {status.inconclusive_reason}.")
        if exit_code is not None:
            break
        if (cpu_times := generator_cpu.read_cpu_times(monitored)) is not None:
            measurements.append(cpu_times)
        if now > _deadline(plan, status, start_deadline):
            raise TidegateError(_timeout_message(status, pool, log))
    if exit_code != 0:
        raise TidegateError(f"The load generator failed with exit code {exit_code}: see its log {log}.")
    return measurements


def _deadline(plan: LoadTest, status: RunStatus, start_deadline: float) -> float:
    """Return when the process must have started the load or, after that, must have ended."""
    if status.measure_start is None:
        return start_deadline
    # After its intended start, a request waits at most one timeout for a connection and one for a response.
    return status.measure_start + plan.duration + 2 * plan.timeout + START_TIMEOUT_SECONDS


def _timeout_message(status: RunStatus, pool: WorkerPool | None, log: Path) -> str:
    if status.measure_start is not None:
        return f"The load generator did not end in time: see its log {log}."
    if pool is None or status.ready_workers == pool.workers:
        return f"The load generator did not start the load in time: see its log {log}."
    return (
        f"The load test is inconclusive: expected {pool.workers} workers within "
        f"{_WORKERS_TIMEOUT_SECONDS:g} s, {status.ready_workers} connected; start each with "
        f"'tidegate loadtest worker --master-host HOST --master-port {pool.bind_port}', "
        "where HOST is this machine."
    )

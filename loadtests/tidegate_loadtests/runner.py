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
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import psutil

from tidegate.contract import Contract
from tidegate.errors import TidegateError
from tidegate_loadtests import generator_cpu
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.generator_cpu import CpuTimes, Generator
from tidegate_loadtests.headers import resolve_headers
from tidegate_loadtests.live_metrics import LiveMetrics
from tidegate_loadtests.locust_process import START_TIMEOUT_SECONDS, LocustOutputs, locust_process
from tidegate_loadtests.readiness import verify_readiness
from tidegate_loadtests.run_files import RunConfig, RunStatus
from tidegate_loadtests.timeline.records import Timeline
from tidegate_loadtests.worker_pool import WorkerPool, validate_worker_pool

SAMPLES = "samples.parquet"
LOG = "locust.log"

_POLL_SECONDS = 0.5
_WORKERS_TIMEOUT_SECONDS = 600.0
"""Time for all workers to connect: a cluster may have to add a node and to pull an image."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a campaign."""

    elapsed_seconds: float | None
    """Seconds since the start of the first phase; None before it starts."""
    live: LiveMetrics
    ready_workers: int
    replicas: int | None = None
    """Number of ready replicas; None if no timeline is recorded."""


class Recorder(Protocol):
    """A recorder of the timeline, from before the load starts until after the last response."""

    @property
    def ready_replicas(self) -> int | None:
        """The number of ready replicas now; None before the first record."""

    def timeline(self, started_at: float) -> Timeline:
        """Return the records, whose times count from the start of the campaign in seconds of Unix time."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished campaign: its samples and its generators."""

    samples_path: Path
    started_at: float
    """Start of the first phase, in seconds of Unix time."""
    generators: tuple[Generator, ...]
    """CPU use of each generator process in the judged phases."""
    timeline: Timeline | None = None


def run(
    campaign: Campaign,
    contract: Contract,
    directory: Path,
    on_progress: Callable[[Progress], None],
    pool: WorkerPool | None = None,
    outputs: LocustOutputs | None = None,
    recorder: AbstractContextManager[Recorder] | None = None,
) -> Run:
    """Run a campaign to its end.

    Args:
        campaign: The campaign, with the server's addresses.
        contract: The contract of the model that the server serves.
        directory: An existing directory for ``samples.parquet`` and ``locust.log``.
        on_progress: Called about twice per second.
        pool: The workers that make the load; None if one process on this machine makes it.
        outputs: Locust's own views, if any.
        recorder: Records the timeline while its block runs; None records none.

    Raises:
        ConfigurationError: If the CPU, a header, the payload file or the worker pool is not valid.
        ServerError: If the server is not ready for this model.
        TidegateError: If the generator failed, or a worker did not connect or was lost.
    """
    cpu = None
    if pool is None:
        cpu = generator_cpu.select_cpu(campaign.cpu)
    else:
        validate_worker_pool(campaign, pool)
    headers = resolve_headers(campaign.target.headers, os.environ)
    log = directory / LOG
    with tempfile.TemporaryDirectory(prefix="tidegate-loadtest-") as scratch:
        config = RunConfig(
            campaign=campaign,
            contract=contract,
            samples_path=directory.resolve() / SAMPLES,
            status_path=Path(scratch) / "status.json",
        )
        config.read_payload()
        verify_readiness(campaign.target, contract.name, campaign.timeout, headers)
        config.samples_path.unlink(missing_ok=True)
        with (
            recorder or nullcontext() as recording,
            locust_process(config, outputs or LocustOutputs(), pool, Path(scratch), log) as process,
        ):
            if cpu is not None:
                os.sched_setaffinity(process.pid, {cpu})

            def show(progress: Progress) -> None:
                replicas = None if recording is None else recording.ready_replicas
                on_progress(replace(progress, replicas=replicas))

            measurements = _monitor(process, config, pool, log, show)
        status = RunStatus.read(config.status_path)
    start = status.start_time
    if start is None or status.started_at is None:
        raise TidegateError(f"The load generator ended before the load started: see its log {log}.")
    generators = status.generators
    if pool is None:
        windows = [(start + phase.start, start + phase.end) for phase in campaign.bounds() if phase.judged]
        generators = (generator_cpu.measure_generator(measurements, windows, cpu),)
    timeline = None if recording is None else recording.timeline(status.started_at)
    return Run(config.samples_path, status.started_at, generators, timeline)


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
    campaign = config.campaign
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
        elapsed = None if status.start_time is None else now - status.start_time
        on_progress(Progress(elapsed, status.live, status.ready_workers))
        if status.inconclusive_reason is not None:
            raise TidegateError(f"The load test is inconclusive: {status.inconclusive_reason}.")
        if exit_code is not None:
            break
        if (cpu_times := generator_cpu.read_cpu_times(monitored)) is not None:
            measurements.append(cpu_times)
        if now > _deadline(campaign, status, start_deadline):
            raise TidegateError(_timeout_message(status, pool, log))
    if exit_code != 0:
        raise TidegateError(f"The load generator failed with exit code {exit_code}: see its log {log}.")
    return measurements


def _deadline(campaign: Campaign, status: RunStatus, start_deadline: float) -> float:
    """Return when the process must have started the load or, after that, must have ended."""
    if status.start_time is None:
        return start_deadline
    # After its intended start, a request waits at most one timeout for a connection and one for a response.
    return status.start_time + campaign.duration_seconds + 2 * campaign.timeout + START_TIMEOUT_SECONDS


def _timeout_message(status: RunStatus, pool: WorkerPool | None, log: Path) -> str:
    if status.start_time is not None:
        return f"The load generator did not end in time: see its log {log}."
    if pool is None or status.ready_workers == pool.workers:
        return f"The load generator did not start the load in time: see its log {log}."
    return (
        f"The load test is inconclusive: expected {pool.workers} workers within "
        f"{_WORKERS_TIMEOUT_SECONDS:g} s, {status.ready_workers} connected; start each with "
        f"'tidegate loadtest worker --master-host HOST --master-port {pool.bind_port}', "
        "where HOST is this machine."
    )

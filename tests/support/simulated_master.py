# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A load test's master with the messages of its workers in virtual time, and its memory.

``python -m tests.support.simulated_master SECONDS RATE`` prints the allocated bytes at half-time
and at the end. It is a program, because Locust patches its whole process with gevent.
"""

import json
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import locust.stats
import numpy as np
from locust.env import Environment

from tests.support.campaigns import make_campaign, make_phase
from tests.support.samples import make_samples
from tests.support.stub_server import make_contract
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.locust import master
from tidegate_loadtests.run_files import RunConfig, RunStatus

WORKERS = ("first", "second")
REPORT_SECONDS = 3
"""Locust's interval between the statistics of a worker."""
HISTORY_SECONDS = 6
"""The interval between the points of Locust's charts, which is five seconds in Locust."""
PROTOCOLS = ("v1", "v2")
GENERATOR = Generator(None, 0.1, 0.1, 0.0, 0.0)


class Runner:
    """Locust's runner of a master, without sockets: it has the statistics, and passes messages on."""

    def __init__(self, environment: Environment) -> None:
        self.stats = environment.stats
        self.user_count = 2
        self.clients: dict[str, Any] = {}
        self._listeners: dict[str, Callable[..., None]] = {}

    def register_message(self, name: str, listener: Callable[..., None]) -> None:
        """Register the listener of the messages of a name."""
        self._listeners[name] = listener

    def send_message(self, *_: Any, **__: Any) -> None:
        """Send nothing: no worker listens."""

    def receive(self, name: str, worker: str, **data: Any) -> None:
        """Pass a worker's message on, as Locust does."""
        self._listeners[name](msg=SimpleNamespace(node_id=worker, data=data))


class Simulation:
    """A campaign of a master and two workers.

    Args:
        folder: The folder of the master's files.
        seconds: Duration of the campaign.
        rate: Requests per second.
    """

    def __init__(self, folder: Path, seconds: int, rate: int) -> None:
        self._now = 0
        self._requests = rate // len(WORKERS) * REPORT_SECONDS
        completed = np.random.default_rng(0).lognormal(-5, 0.7, self._requests)
        self._samples = make_samples(np.zeros(self._requests), completed=completed).to_bytes()
        self._response_times = Counter(locust.stats.bucket_response_time(1e3 * one) for one in completed)
        self._status_path = folder / "status.json"
        self.environment = Environment(parsed_options=SimpleNamespace(expect_workers=len(WORKERS)))
        self.runner = self.environment.runner = Runner(self.environment)
        locust.stats.setup_distributed_stats_event_listeners(self.environment.events, self.environment.stats)
        master.time = SimpleNamespace(monotonic=lambda: float(self._now), time=lambda: float(self._now))
        config = RunConfig(
            campaign=make_campaign(make_phase(rate=rate, duration=seconds)),
            contract=make_contract(),
            samples_path=folder / "samples.parquet",
            status_path=self._status_path,
        )
        master.Master(self.environment, config)
        for worker in WORKERS:
            self.runner.receive("connected", worker, host=worker)
            self.runner.receive("ready", worker)
        self.environment.events.spawning_complete.fire(user_count=2)
        for worker in WORKERS:
            self.runner.receive("started", worker)

    def run(self, seconds: int) -> None:
        """Receive the messages of some seconds."""
        for _ in range(seconds // REPORT_SECONDS):
            self._now += REPORT_SECONDS
            for worker in WORKERS:
                self.runner.receive("samples", worker, samples=self._samples)
                self.environment.events.worker_report.fire(client_id=worker, data=self._statistics())
            if self._now % HISTORY_SECONDS == 0:
                locust.stats.update_stats_history(self.runner)

    def finish(self) -> RunStatus:
        """Receive the last message of each worker, and return the master's status."""
        for worker in WORKERS:
            samples = self._now // REPORT_SECONDS * self._requests
            self.runner.receive("finished", worker, samples=samples, generator=asdict(GENERATOR))
        return RunStatus.read(self._status_path)

    def _statistics(self) -> dict[str, Any]:
        """Return a worker's statistics of the last seconds, with a failure per second."""
        seconds = range(self._now - REPORT_SECONDS, self._now)
        stats = locust.stats.RequestStats(use_response_times_cache=False)
        for entry in (stats.total, *(stats.get(name, "POST") for name in PROTOCOLS)):
            entry.num_requests = sum(self._response_times.values())
            entry.num_failures = REPORT_SECONDS
            entry.response_times = self._response_times
            entry.num_reqs_per_sec = dict.fromkeys(seconds, self._requests // REPORT_SECONDS)
            entry.num_fail_per_sec = dict.fromkeys(seconds, 1)
            entry.start_time, entry.last_request_timestamp = 0.0, float(seconds[-1])
        error = locust.stats.StatsError("POST", "v1", "status 503", REPORT_SECONDS)
        return {
            "stats": stats.serialize_stats(),
            "stats_total": stats.total.get_stripped_report(),
            "errors": {"POSTv1": error.serialize()},
        }


def main() -> None:
    """Print the bytes that are allocated at half-time and at the end, and the counts."""
    seconds, rate = map(int, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(Path(folder), seconds, rate)
        tracemalloc.start()
        simulation.run(seconds // 2)
        half, _ = tracemalloc.get_traced_memory()
        simulation.run(seconds - seconds // 2)
        end, _ = tracemalloc.get_traced_memory()
        status = simulation.finish()
        assert status.inconclusive_reason is None, status.inconclusive_reason
    figures = {"half": half, "end": end, "requests": status.live.requests}
    print(json.dumps(figures | {"locust_rate": simulation.environment.stats.total.current_rps}))


if __name__ == "__main__":
    main()

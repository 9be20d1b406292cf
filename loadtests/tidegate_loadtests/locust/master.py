# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The master: gives each worker its partition, starts all workers together, and collects their samples.

Locust provides connections, users and heartbeats. The master makes no load and decides no verdict. It aborts
a campaign that loses a worker or a sample, because the rest is not the planned load.
"""

import signal
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import gevent
import gevent.event
from locust import runners
from locust.runners import STATE_MISSING

from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.live_metrics import SampleCounter
from tidegate_loadtests.locust.shape import CampaignShape
from tidegate_loadtests.locust.statistics import forget_old_statistics
from tidegate_loadtests.partition import Partition, split_load
from tidegate_loadtests.run_files import RunConfig, RunStatus
from tidegate_loadtests.samples import Samples, SampleWriter

_POLL_SECONDS = 0.5
_MAX_MISSED_HEARTBEATS = 10
"""The heartbeats, one per second, that a worker may miss before it counts as lost. Locust's default is three.

On a busy node a worker may stall for some seconds. A stall alone is not a reason to abort. The samples
have the late requests, and the worker's report has the CPU time that it lacked.
"""


@dataclass(slots=True)
class _WorkerRecord:
    """The master's record of one worker."""

    name: str
    ready: bool = False
    start_skew_seconds: float | None = None
    samples: int = 0
    generator: Generator | None = None


class Master:
    """The master of one campaign, from the moment when workers can connect."""

    def __init__(self, environment: Any, config: RunConfig) -> None:
        runners.HEARTBEAT_LIVENESS = _MAX_MISSED_HEARTBEATS  # Locust has no option for it
        self._runner = environment.runner
        self._config = config
        workers = environment.parsed_options.expect_workers
        self._partitions = split_load(config.campaign, config.contract, workers, config.read_payload())
        # Locust decides which worker has one user more than another; with this number, each has enough.
        CampaignShape.users = workers * max(partition.users for partition in self._partitions)
        self._workers: dict[str, _WorkerRecord] = {}
        self._all_ready = gevent.event.Event()
        self._status = RunStatus()
        self._start_time = 0.0
        self._closed = False
        self._writer = SampleWriter(config.samples_path)
        self._counter = SampleCounter(time.monotonic)
        for name, listener in {
            "connected": self._send_partition,
            "ready": self._record_ready,
            "failed": self._record_failure,
            "started": self._record_start,
            "samples": self._write_samples,
            "finished": self._record_finish,
        }.items():
            self._runner.register_message(name, listener)
        # Locust starts as soon as enough workers are connected, but users need their worker's partition.
        environment.events.test_start.add_listener(lambda **_: self._all_ready.wait())
        environment.events.spawning_complete.add_listener(self._start)
        environment.events.test_stopping.add_listener(
            lambda **_: self._abort("the campaign was stopped on Locust's page")
        )
        environment.events.test_stop.add_listener(self._end_workers)
        environment.events.worker_report.add_listener(lambda **_: forget_old_statistics(environment.stats))
        gevent.spawn(self._monitor_workers)
        # Locust handles this signal only after its start, and the workers must end before that as well.
        gevent.signal_handler(signal.SIGTERM, self._terminate)

    def _send_partition(self, msg: Any, **_: Any) -> None:
        index = len(self._workers)
        if index == len(self._partitions):
            self._abort(f"expected {index} workers, and one more connected")
            return
        self._workers[msg.node_id] = _WorkerRecord(f"worker {index} on {msg.data['host']}")
        partition: Partition = self._partitions[index]
        self._runner.send_message("partition", {"partition": partition.model_dump_json()}, msg.node_id)

    def _record_ready(self, msg: Any, **_: Any) -> None:
        self._workers[msg.node_id].ready = True
        ready = sum(worker.ready for worker in self._workers.values())
        self._update_status(ready_workers=ready)
        if ready == len(self._partitions):
            self._all_ready.set()

    def _record_failure(self, msg: Any, **_: Any) -> None:
        self._abort(f"{self._workers[msg.node_id].name} could not start: {msg.data['reason'].rstrip('.')}")

    def _start(self, **_: Any) -> None:
        """Record the moment right before Locust sends the workers its message that all users exist."""
        if self._status.start_time is None:
            self._start_time = time.monotonic()
            self._update_status(start_time=self._start_time, started_at=time.time())

    def _record_start(self, msg: Any, **_: Any) -> None:
        # An upper bound by this clock alone: the worker started between the two moments.
        self._workers[msg.node_id].start_skew_seconds = time.monotonic() - self._start_time

    def _write_samples(self, msg: Any, **_: Any) -> None:
        if not self._closed:
            samples = Samples.from_bytes(msg.data["samples"])
            self._workers[msg.node_id].samples += len(samples)
            self._counter.add(samples)
            self._writer.write(samples)

    def _record_finish(self, msg: Any, **_: Any) -> None:
        worker = self._workers[msg.node_id]
        if worker.samples != msg.data["samples"]:
            self._abort(
                f"samples of {worker.name} are missing: expected {msg.data['samples']:,}, "
                f"received {worker.samples:,}"
            )
        if worker.start_skew_seconds is not None:
            worker.generator = replace(
                Generator(**msg.data["generator"]),
                worker=worker.name,
                start_skew_ms=worker.start_skew_seconds * 1e3,
            )
        generators = [worker.generator for worker in self._workers.values() if worker.generator is not None]
        if len(generators) == len(self._partitions) and not self._closed:
            self._closed = True
            self._writer.close()
            self._update_status(generators=tuple(generators), live=self._counter.read())
            CampaignShape.finished = True

    def _end_workers(self, **_: Any) -> None:
        """End the workers. With its page, Locust has forgotten them when it quits."""
        for node_id in self._workers:
            self._runner.send_message("quit", client_id=node_id)

    def _monitor_workers(self) -> None:
        """Update the live metrics, and abort when a worker is lost."""
        while not self._closed:
            if self._status.start_time is not None:
                self._update_status(live=self._counter.read())
            for node_id, worker in self._workers.items():
                node = self._runner.clients.get(node_id)
                if node is None or node.state == STATE_MISSING:
                    self._abort(f"{worker.name} was lost")
            gevent.sleep(_POLL_SECONDS)

    def _abort(self, reason: str) -> None:
        """Report an inconclusive campaign; the runner then ends this process."""
        if not self._closed:
            self._closed = True
            self._update_status(inconclusive_reason=reason)

    def _terminate(self) -> None:
        """End this process and the workers."""
        self._runner.quit()
        sys.exit(1)

    def _update_status(self, **fields: Any) -> None:
        self._status = self._status.model_copy(update=fields)
        self._status.write(self._config.status_path)

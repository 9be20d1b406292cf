# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The worker: receives its partition of a load from the master, and sends back samples and CPU use.

A worker reads and writes no file. All its times are on its own monotonic clock, from the master's start
message on, so no latency is measured between two machines.
"""

import os
import socket
import time
from dataclasses import asdict
from typing import Any

import gevent
import psutil
from locust.runners import STATE_RUNNING

from tidegate.errors import TidegateError
from tidegate_loadtests import generator_cpu
from tidegate_loadtests.generator_cpu import CpuTimes
from tidegate_loadtests.headers import resolve_headers
from tidegate_loadtests.locust.users import InferenceUser, RequestSource
from tidegate_loadtests.partition import Partition
from tidegate_loadtests.workload import Workload

_REPORT_SECONDS = 0.5


class Worker:
    """One worker, from its connection to the master on."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._runner = environment.runner
        self._sent_samples = 0
        self._source: RequestSource | None = None
        # An end before all requests are sent is a failure.
        environment.process_exit_code = 1
        # Locust detects a lost master only after its first heartbeat; a master may be lost before that.
        self._runner.last_heartbeat_timestamp = time.time()
        self._runner.register_message("partition", self._receive_partition)
        environment.events.spawning_complete.add_listener(self._start)
        self._runner.send_message("connected", {"host": socket.gethostname()})

    def _receive_partition(self, msg: Any, **_: Any) -> None:
        partition = Partition.model_validate_json(msg.data["partition"])
        try:
            headers = resolve_headers(partition.headers, os.environ)
        except TidegateError as error:
            self._runner.send_message("failed", {"reason": str(error)})
            return
        # In a thread, so that this worker's heartbeat continues.
        workload = gevent.get_hub().threadpool.apply(Workload, (partition,))
        self._source = RequestSource(partition, workload, headers)
        InferenceUser.configure(self._source)
        self._runner.send_message("ready")

    def _start(self, **_: Any) -> None:
        if self._source is not None and not self._source.started.is_set():
            self._source.start()
            self._runner.send_message("started")
            gevent.spawn(self._report, self._source)

    def _report(self, source: RequestSource) -> None:
        process = psutil.Process()
        measurements: list[CpuTimes] = []
        finished = False
        while not finished:
            finished = self._runner.user_greenlets.join(timeout=_REPORT_SECONDS)
            if (cpu_times := generator_cpu.read_cpu_times(process, children=False)) is not None:
                measurements.append(cpu_times)
            self._send_samples(source)
        if self._runner.state != STATE_RUNNING:  # the master ended the campaign
            return
        windows = [
            (begin + source.start_time, end + source.start_time) for begin, end in source.partition.judged
        ]
        generator = generator_cpu.measure_generator(measurements, windows, pinned_cpu=None)
        self._runner.send_message("finished", {"samples": self._sent_samples, "generator": asdict(generator)})
        self._environment.process_exit_code = 0
        # No user is left to wait for, and Locust reads no message while it waits for this time.
        self._environment.stop_timeout = 0

    def _send_samples(self, source: RequestSource) -> None:
        """Send the samples since the last call in one message."""
        samples = source.samples.take()
        self._sent_samples += len(samples)
        if len(samples):
            self._runner.send_message("samples", {"samples": samples.to_bytes()})

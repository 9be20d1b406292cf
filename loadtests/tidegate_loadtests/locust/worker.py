# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The worker: receives its partition of a load from the master, and sends back samples and CPU use.

A worker reads and writes no file. All its times are on its own monotonic clock, from the master's start
message on, so no latency is measured between two machines.
"""

import io
import socket
import time
from dataclasses import asdict
from typing import Any

import gevent
import psutil
from locust.runners import STATE_RUNNING

from tidegate_loadtests import generator_cpu
from tidegate_loadtests.generator_cpu import CpuTimes
from tidegate_loadtests.locust.users import InferenceUser, RequestSource
from tidegate_loadtests.partition import Partition
from tidegate_loadtests.samples import SampleWriter
from tidegate_loadtests.workload import build_requests

_REPORT_SECONDS = 0.5


class Worker:
    """One worker, from its connection to the master on."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._runner = environment.runner
        self._unsent_lines = io.StringIO(newline="")
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
        # In a thread, so that this worker's heartbeat continues.
        requests = gevent.get_hub().threadpool.apply(build_requests, (partition.plan, partition.contract))
        self._source = RequestSource(partition, requests, SampleWriter(self._unsent_lines))
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
            if (cpu_times := generator_cpu.read_cpu_times(process)) is not None:
                measurements.append(cpu_times)
            self._send_samples()
        if self._runner.state != STATE_RUNNING:  # the master ended the campaign
            return
        begin = source.measure_start
        generator = generator_cpu.measure_generator(
            measurements, begin, begin + source.plan.duration, pinned_cpu=None
        )
        self._runner.send_message("finished", {"samples": self._sent_samples, "generator": asdict(generator)})
        self._environment.process_exit_code = 0

    def _send_samples(self) -> None:
        """Send the samples since the last call, one line per sample."""
        lines = self._unsent_lines.getvalue()
        self._unsent_lines.seek(0)
        self._unsent_lines.truncate()
        self._sent_samples += lines.count("\n")
        if lines:
            self._runner.send_message("samples", {"lines": lines})

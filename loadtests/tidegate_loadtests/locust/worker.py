# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The worker: inside Locust, takes its share of a load from the master and sends back what became of it.

It reads no file and writes none. Its times are all of its own monotonic clock, counted from the master's
word to begin: no latency is ever measured between two machines. It judges nothing.
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
from tidegate_loadtests.generator_cpu import Tick
from tidegate_loadtests.locust.users import Client, Load
from tidegate_loadtests.partition import Share
from tidegate_loadtests.samples import SampleWriter
from tidegate_loadtests.workload import deck

_REPORT_SECONDS = 0.5


class Worker:
    """One worker, from the moment at which it has found the master."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._runner = environment.runner
        self._batch = io.StringIO(newline="")
        self._sent = 0
        self._load: Load | None = None
        # Until its share is done: whatever ends it before has cut it off.
        environment.process_exit_code = 1
        # Locust misses the heartbeat of a master only after the first one; a master may vanish before that.
        self._runner.last_heartbeat_timestamp = time.time()
        self._runner.register_message("share", self._take)
        environment.events.spawning_complete.add_listener(self._begin)
        self._runner.send_message("here", {"host": socket.gethostname()})

    def _take(self, msg: Any, **_: Any) -> None:
        share = Share.model_validate_json(msg.data["share"])
        # In a thread, so that the master does not miss this worker's heartbeat meanwhile.
        questions = gevent.get_hub().threadpool.apply(deck, (share.plan, share.contract))
        self._load = Load(share, questions, SampleWriter(self._batch))
        Client.take(self._load)
        self._runner.send_message("ready")

    def _begin(self, **_: Any) -> None:
        if self._load is not None and not self._load.begun.is_set():
            self._load.begin()
            self._runner.send_message("begun")
            gevent.spawn(self._report, self._load)

    def _report(self, load: Load) -> None:
        process = psutil.Process()
        ticks: list[Tick] = []
        ended = False
        while not ended:
            ended = self._runner.user_greenlets.join(timeout=_REPORT_SECONDS)
            if (tick := generator_cpu.look(process)) is not None:
                ticks.append(tick)
            self._send()
        if self._runner.state != STATE_RUNNING:  # the master ended the campaign
            return
        found = generator_cpu.assess(ticks, load.zero, load.zero + load.plan.duration, core=None)
        self._runner.send_message("ended", {"samples": self._sent, "generator": asdict(found)})
        self._environment.process_exit_code = 0

    def _send(self) -> None:
        """Send the samples since the last time, each a line."""
        lines = self._batch.getvalue()
        self._batch.seek(0)
        self._batch.truncate()
        self._sent += lines.count("\n")
        if lines:
            self._runner.send_message("samples", {"lines": lines})

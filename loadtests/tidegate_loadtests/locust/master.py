# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The master: inside Locust, gives each worker its share, tells all to begin, and collects their samples.

Connections, users and heartbeats are Locust's. It makes no load itself and judges nothing; a campaign that
has lost a worker or a sample it calls off, because what is left is not the load that was planned.
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
from tidegate_loadtests.partition import Share, shares
from tidegate_loadtests.run_config import Assignment
from tidegate_loadtests.run_status import State
from tidegate_loadtests.samples import SampleWriter

_LOOK_SECONDS = 0.5
_HEARTBEATS = 10
"""How many of a worker's heartbeats, one a second, may be missing before it is lost.

On a node that it shares a worker may stand still for some seconds. It is there all the same: what it sends
late is in its samples, and that it had no core is in its own report. Locust would wait for three.
"""


@dataclass(slots=True)
class _Member:
    """What the master knows of a worker."""

    name: str
    ready: bool = False
    began_within: float | None = None
    samples: int = 0
    generator: Generator | None = None


class Master:
    """One campaign's master, from the moment at which workers can connect."""

    def __init__(self, environment: Any, assignment: Assignment) -> None:
        runners.HEARTBEAT_LIVENESS = _HEARTBEATS  # there is no option for it
        self._runner = environment.runner
        self._assignment = assignment
        plan, workers = assignment.plan, environment.parsed_options.expect_workers
        self._shares = shares(plan, assignment.contract, workers)
        self._members: dict[str, _Member] = {}
        self._all_ready = gevent.event.Event()
        self._state = State()
        self._told = 0.0
        self._over = False
        self._file = assignment.samples.open("w", newline="", encoding="utf-8")
        SampleWriter(self._file).header()
        for name, listener in {
            "here": self._welcome,
            "ready": self._ready,
            "begun": self._begun,
            "samples": self._collect,
            "ended": self._ended,
        }.items():
            self._runner.register_message(name, listener)
        # Locust starts when it has counted enough workers; users are for workers that have their share.
        environment.events.test_start.add_listener(lambda **_: self._all_ready.wait())
        environment.events.spawning_complete.add_listener(self._begin)
        gevent.spawn(self._watch)
        # Locust heeds this signal only once it has started; workers are to be told before, too.
        gevent.signal_handler(signal.SIGTERM, self._leave)

    def _welcome(self, msg: Any, **_: Any) -> None:
        index = len(self._members)
        if index == len(self._shares):
            self._call_off(f"more workers came than the {index} that were expected")
            return
        self._members[msg.node_id] = _Member(f"worker {index} on {msg.data['host']}")
        share: Share = self._shares[index]
        self._runner.send_message("share", {"share": share.model_dump_json()}, msg.node_id)

    def _ready(self, msg: Any, **_: Any) -> None:
        self._members[msg.node_id].ready = True
        ready = sum(member.ready for member in self._members.values())
        self._tell(workers=ready)
        if ready == len(self._shares):
            self._all_ready.set()

    def _begin(self, **_: Any) -> None:
        """Note the moment: right after this, Locust tells all workers that every user is there."""
        if self._state.zero is None:
            self._told = time.monotonic()
            self._tell(zero=self._told + self._assignment.plan.warmup)

    def _begun(self, msg: Any, **_: Any) -> None:
        # Measured on this clock alone: the worker began after the word was given and before this came.
        self._members[msg.node_id].began_within = time.monotonic() - self._told

    def _collect(self, msg: Any, **_: Any) -> None:
        if not self._over:
            self._members[msg.node_id].samples += msg.data["lines"].count("\n")
            self._file.write(msg.data["lines"])

    def _ended(self, msg: Any, **_: Any) -> None:
        member = self._members[msg.node_id]
        if member.samples != msg.data["samples"]:
            self._call_off(f"of {msg.data['samples']:,} samples of {member.name} {member.samples:,} arrived")
        if member.began_within is not None:
            member.generator = replace(
                Generator(**msg.data["generator"]),
                worker=member.name,
                began_within_ms=member.began_within * 1e3,
            )
        generators = [member.generator for member in self._members.values() if member.generator is not None]
        if len(generators) == len(self._shares) and not self._over:
            self._over = True
            self._file.close()
            self._tell(generators=tuple(generators))
            gevent.spawn(self._runner.quit)  # not here: it ends the greenlet that it is called from

    def _watch(self) -> None:
        """Make samples visible to readers, and see whether every worker is still there."""
        while not self._over:
            self._file.flush()
            for client, member in self._members.items():
                known = self._runner.clients.get(client)
                if known is None or known.state == STATE_MISSING:
                    self._call_off(f"{member.name} was lost")
            gevent.sleep(_LOOK_SECONDS)

    def _call_off(self, problem: str) -> None:
        """Say why the campaign decides nothing; whoever started this process ends it then."""
        if not self._over:
            self._over = True
            self._file.close()
            self._tell(problem=problem)

    def _leave(self) -> None:
        """End, and the workers with it."""
        self._runner.quit()
        sys.exit(1)

    def _tell(self, **news: Any) -> None:
        self._state = self._state.model_copy(update=news)
        self._state.write(self._assignment.state)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What Locust loads: the users, and the part that this process has in the campaign.

A process makes all of the load by itself, or is the master of workers, or one of them. Locust decides which
by its own options; nothing is decided here.
"""

from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from tidegate_loadtests.locust.master import Master
from tidegate_loadtests.locust.users import Client, Load
from tidegate_loadtests.locust.worker import Worker
from tidegate_loadtests.partition import Share
from tidegate_loadtests.run_config import Assignment
from tidegate_loadtests.run_status import State
from tidegate_loadtests.samples import SampleWriter
from tidegate_loadtests.workload import deck

_FLUSH_SECONDS = 0.5


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _declare(parser: Any) -> None:
    parser.add_argument("--assignment", default="", help="The assignment's JSON file; not for a worker.")


@events.init.add_listener  # type: ignore[untyped-decorator]
def _prepare(environment: Any, runner: Any, **_: Any) -> None:
    if isinstance(runner, WorkerRunner):
        Worker(environment)
        return
    assignment = Assignment.model_validate_json(Path(environment.parsed_options.assignment).read_bytes())
    if isinstance(runner, MasterRunner):
        Master(environment, assignment)
    else:
        _alone(environment, assignment)


def _alone(environment: Any, assignment: Assignment) -> None:
    """Make all of the load."""
    share = Share(plan=assignment.plan, contract=assignment.contract)
    file = assignment.samples.open("w", newline="", encoding="utf-8")
    record = SampleWriter(file)
    record.header()
    load = Load(share, deck(share.plan, share.contract), record)
    Client.take(load)

    def begin(**_: Any) -> None:
        load.begin()
        State(zero=load.zero).write(assignment.state)
        gevent.spawn(flush)

    def flush() -> None:
        while not file.closed:
            file.flush()
            gevent.sleep(_FLUSH_SECONDS)

    environment.events.spawning_complete.add_listener(begin)
    environment.events.quitting.add_listener(lambda **_: file.close())

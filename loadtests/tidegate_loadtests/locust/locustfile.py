# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The locustfile: gives the Locust process its role in the campaign.

Locust's own options select the role: all of the load in one process, the master of workers, or one worker.
"""

from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from tidegate_loadtests.locust.master import Master
from tidegate_loadtests.locust.users import InferenceUser, RequestSource
from tidegate_loadtests.locust.worker import Worker
from tidegate_loadtests.partition import Partition
from tidegate_loadtests.run_files import RunConfig, RunStatus
from tidegate_loadtests.samples import SampleWriter
from tidegate_loadtests.workload import build_requests

_FLUSH_SECONDS = 0.5


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--run-config", default="", help="JSON file of the run configuration; not for workers."
    )


@events.init.add_listener  # type: ignore[untyped-decorator]
def _assign_role(environment: Any, runner: Any, **_: Any) -> None:
    if isinstance(runner, WorkerRunner):
        Worker(environment)
        return
    config = RunConfig.model_validate_json(Path(environment.parsed_options.run_config).read_bytes())
    if isinstance(runner, MasterRunner):
        Master(environment, config)
    else:
        _run_standalone(environment, config)


def _run_standalone(environment: Any, config: RunConfig) -> None:
    """Make the whole load in this process."""
    partition = Partition(plan=config.plan, contract=config.contract)
    file = config.samples_path.open("w", newline="", encoding="utf-8")
    writer = SampleWriter(file)
    writer.write_header()
    source = RequestSource(partition, build_requests(config.plan, config.contract), writer)
    InferenceUser.configure(source)

    def start(**_: Any) -> None:
        source.start()
        RunStatus(measure_start=source.measure_start).write(config.status_path)
        gevent.spawn(flush_samples)

    def flush_samples() -> None:
        while not file.closed:
            file.flush()
            gevent.sleep(_FLUSH_SECONDS)

    environment.events.spawning_complete.add_listener(start)
    environment.events.quitting.add_listener(lambda **_: file.close())

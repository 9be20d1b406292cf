# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The locustfile: gives the Locust process its role in the campaign.

Locust's own options select the role: all of the load in one process, the master of workers, or one worker.
"""

from pathlib import Path
from typing import Any

from locust import events
from locust.runners import MasterRunner, WorkerRunner

from tidegate_loadtests.locust.master import Master
from tidegate_loadtests.locust.shape import CampaignShape
from tidegate_loadtests.locust.standalone import Standalone
from tidegate_loadtests.locust.users import InferenceUser
from tidegate_loadtests.locust.worker import Worker
from tidegate_loadtests.run_files import RunConfig

__all__ = ["CampaignShape", "InferenceUser"]  # Locust finds its users and its shape by these names


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
        Standalone(environment, config)

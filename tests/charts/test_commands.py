# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The subcommands, options and environment variables in the charts exist in the command line."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.charts.chart import Object, containers, pod_specs, render
from tests.charts.test_examples import POD_CI_FILES
from tidegate.cli import build


@cache
def subcommand(*names: str) -> tuple[Any, list[str]]:
    """Return the command that the first arguments name, and the remaining arguments."""
    command: Any = typer.main.get_command(build())
    rest = list(names)
    while hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, f"there is no command {' '.join(names)}"
        command = command.commands[name]
    return command, rest


def assert_command_is_valid(container: Object) -> None:
    command, arguments = subcommand(*container["args"])
    options = {option: p for p in command.params for option in p.opts if p.param_type_name == "option"}
    positional = []
    rest = iter(arguments)
    for argument in rest:
        if argument.startswith("--"):
            assert argument in options, f"{command.name} has no option {argument}"
            if not options[argument].is_flag:
                next(rest)
        else:
            positional.append(argument)
    expected = [p for p in command.params if p.param_type_name == "argument"]
    assert len([p for p in expected if p.required]) <= len(positional) <= len(expected)
    known = {p.envvar for p in command.params}
    for entry in container.get("env", []):
        if entry["name"].startswith("TIDEGATE_"):
            assert entry["name"] in known, f"{command.name} does not read {entry['name']}"


@pytest.mark.parametrize("path", POD_CI_FILES, ids=lambda path: f"{path.parent.parent.name}/{path.name}")
def test_containers_call_existing_commands_and_options(path: Path) -> None:
    pods = pod_specs(render(yaml.safe_load(path.read_text()), path.parent.parent.name))
    # The sidecars of extended-values.yaml have commands of their own.
    own = [item for pod in pods.values() for item in containers(pod) if "tidegate/" in item["image"]]
    assert own
    for container in own:
        assert_command_is_valid(container)


def test_unknown_option_is_found() -> None:
    with pytest.raises(AssertionError, match="no option --speed"):
        assert_command_is_valid({"args": ["serve", "bundle", "--speed", "fast"]})
    with pytest.raises(AssertionError, match="does not read TIDEGATE_SPEED"):
        assert_command_is_valid(
            {"args": ["serve", "bundle"], "env": [{"name": "TIDEGATE_SPEED", "value": "fast"}]}
        )

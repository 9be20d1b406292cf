# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of the quick start: each has options that its program has."""

import shlex
from pathlib import Path

import pytest

from tests.charts.test_commands import assert_command_is_valid
from tools.cluster.__main__ import parser as cluster_parser
from tools.quickstart.plan import BUILT, KIND, PROVIDERS, Provider, Step, format_steps

ROOT = Path(__file__).parents[3]
both = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=list(PROVIDERS))


def without_prefix(provider: Provider, step: Step) -> tuple[str, ...]:
    return tuple(shlex.split(step.line.removeprefix(provider.enter)))


@both
def test_tidegate_commands_have_existing_options(provider: Provider) -> None:
    commands = [without_prefix(provider, step) for step in provider.all_steps()]
    own = [argv[argv.index("tidegate") :] for argv in commands if "tidegate" in argv]
    own += [argv for argv in commands if argv[0].endswith("/tidegate")]
    assert sorted(argv[1] for argv in own) == ["predict", "status", "submit"]
    for argv in own:
        assert_command_is_valid({"args": list(argv[1:])})


def test_cluster_commands_of_built_are_parsed() -> None:
    provider = PROVIDERS[BUILT]
    steps = [*provider.all_steps(), provider.undo]
    own = [argv for step in steps for argv in (step.argv, step.unless) if "tools.cluster" in argv]
    commands = {cluster_parser().parse_args(argv[3:]).command for argv in own}
    assert commands == {"up", "build", "load", "exec", "down"}


def test_providers_differ_only_in_cluster_images_and_store() -> None:
    kind, built = (
        [without_prefix(provider, step) for step in provider.all_steps()[-5:]]
        for provider in (PROVIDERS[KIND], PROVIDERS[BUILT])
    )
    endpoints = [f"objectStore.endpoint={PROVIDERS[name].endpoint}" for name in (KIND, BUILT)]
    assert [tuple(endpoints[1] if word == endpoints[0] else word for word in argv) for argv in kind] == built


def test_install_page_has_the_commands_of_kind() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    assert format_steps(PROVIDERS[KIND].all_steps()) in page
    assert PROVIDERS[KIND].undo.line in page


def test_long_command_continues_before_a_setting() -> None:
    words = ["--set", f"a={'x' * 80}", "--set", f"b={'y' * 80}"]
    first, second, third = format_steps([Step("Install", ("helm", "install", *words))]).splitlines()
    assert first == "# Install."
    assert second.endswith("x \\")
    assert third.startswith("  --set b=y")

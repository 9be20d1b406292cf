# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The table of scenarios agrees with the tests, with the documentation and with the cluster's add-ons."""

import re
from pathlib import Path

import pytest

from tests.e2e.scenarios import SCENARIOS, find_scenario, names_of_run, required_addons
from tools.cluster.cluster import ADDONS

ROOT = Path(__file__).parents[3]
FULL_HEADING = "## Scenarios of the full run"


def documented(text: str) -> set[str]:
    """Return the names in the first column of the tables whose first heading is `scenario`."""
    names: set[str] = set()
    in_table = False
    for line in text.splitlines():
        cells = line.split("|")
        in_table = len(cells) > 2 and (in_table or cells[1].strip() == "scenario")
        if in_table:
            names |= set(re.findall(r"`(\w+)`", cells[1]))
    return names


def test_scenarios_are_the_tests() -> None:
    tests = [
        name
        for file in (ROOT / "tests" / "e2e").glob("test_*.py")
        for name in re.findall(r"^def test_(\w+)\(", file.read_text(), re.MULTILINE)
    ]
    assert sorted(tests) == sorted(scenario.name for scenario in SCENARIOS)


def test_documentation_lists_each_scenario_in_its_run() -> None:
    ci, _, full = (ROOT / "docs" / "e2e.md").read_text().partition(FULL_HEADING)
    assert documented(ci) == set(names_of_run(full=False))
    assert documented(full) == set(names_of_run(full=True)) - set(names_of_run(full=False))


def test_addons_are_those_of_the_cluster() -> None:
    assert set(required_addons(names_of_run(full=True))) <= set(ADDONS)


def test_ci_run_installs_no_addon() -> None:
    assert required_addons(names_of_run(full=False)) == ()


def test_find_scenario_outside_the_table_raises() -> None:
    with pytest.raises(LookupError, match="'other'"):
        find_scenario("test_other")

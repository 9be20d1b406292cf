# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The rendered rules in promtool's unit tests. Without promtool, `make test` skips all tests that need it."""

import json
from pathlib import Path

import pytest

from tests.alerts.cases import ALERTS, CASES
from tests.alerts.promtool import find_errors, needs_promtool, run_cases
from tests.alerts.scopes import Scope, render_groups
from tests.charts.chart import of_kind, render

scopes = pytest.mark.parametrize("scope", Scope)


@scopes
def test_cases_are_about_every_alert(scope: Scope) -> None:
    assert {rule["alert"] for group in render_groups(scope) for rule in group["rules"]} == ALERTS


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_alert_has_cases_with_and_without_it(alert: str) -> None:
    fired = {
        case.name: any(one.alert == alert for alerts in case.expected.values() for one in alerts)
        for case in CASES
        if case.alert == alert
    }
    assert set(fired.values()) == {True, False}


@needs_promtool
@scopes
def test_rules_are_valid(scope: Scope, tmp_path: Path) -> None:
    assert find_errors(render_groups(scope), tmp_path) is None


@needs_promtool
@scopes
def test_rules_fire_as_the_cases_say(scope: Scope, tmp_path: Path) -> None:
    assert run_cases(render_groups(scope), scope, CASES, tmp_path) is None


@needs_promtool
def test_dashboard_queries_are_valid(tmp_path: Path) -> None:
    [config] = of_kind(render({}, "tidegate-monitoring"), "ConfigMap").values()
    queries = [
        target["expr"].replace("$__rate_interval", "5m")
        for text in config["data"].values()
        for panel in json.loads(text)["panels"]
        for target in panel.get("targets", [])
    ]
    assert queries
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    assert find_errors([{"name": "panels", "rules": rules}], tmp_path) is None

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Alerts and dashboard of helm/tidegate: their selectors, thresholds and texts.

``tests/protocol/test_metric_names.py`` compares the names of metrics with those of a running server.
"""

import json
import re
from typing import Any

import pytest

from tests.charts.chart import ROOT, Object, Values, of_kind, render
from tests.charts.conftest import merged

ALERTS = {"alerts": {"enabled": True}}


def alerts(values: Values, **options: Any) -> dict[str, Object]:
    """Return the alerting rules by name."""
    [group] = of_kind(render(merged(values, ALERTS), **options), "PrometheusRule")["demo"]["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def dashboard(values: Values, **options: Any) -> Any:
    """Return the dashboard without placeholders."""
    objects = render(merged(values, {"dashboard": {"enabled": True}}), **options)
    [text] = of_kind(objects, "ConfigMap")["demo-dashboard"]["data"].values()
    assert "@" not in text
    return json.loads(text)


def test_alerts_select_this_release_only(two_tracks) -> None:
    rules = alerts(two_tracks)
    for rule in rules.values():
        assert 'namespace="models"' in rule["expr"]
        assert re.search(r"demo(\(-canary\)\?)?-(predictor|hpa)", rule["expr"])


def test_error_rate_alert_excludes_client_errors_and_overload(two_tracks) -> None:
    expression = alerts(two_tracks)["TidegateHighErrorRate"]["expr"]
    assert "4.." not in expression
    assert "429" not in expression


def test_alerts_have_severity_texts_and_runbook_section(two_tracks) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    sections = {heading.lower() for heading in re.findall(r"^## (.+)$", runbook, flags=re.MULTILINE)}
    url = "https://wiki.example.com/runbook"
    rules = alerts(merged(two_tracks, {"alerts": {"runbookUrl": url}}))
    for name, rule in rules.items():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")
        assert rule["annotations"]["runbook_url"] == f"{url}#{name.lower()}"
        assert re.fullmatch(r"[0-9]+m", rule["for"])
    assert {name.lower() for name in rules} == sections  # the runbook has no other section


THRESHOLDS = pytest.mark.parametrize(
    ("value", "alert"),
    [
        ("errorRatio", "TidegateHighErrorRate"),
        ("rejectedRatio", "TidegateOverloaded"),
        ("p99Seconds", "TidegateHighLatency"),
        ("canaryExcessRatio", "TidegateCanaryErrorRate"),
        ("driftPsi", "TidegateFeatureDrift"),
        ("driftPsi", "TidegatePredictionDrift"),
        ("violationRatio", "TidegateInputViolations"),
    ],
)


@THRESHOLDS
def test_alert_threshold_is_the_value_of_the_chart(value, alert, two_tracks) -> None:
    rules = alerts(merged(two_tracks, {"alerts": {value: 0.0625}}))
    assert re.search(r"> 0\.0625\b", rules[alert]["expr"])


@THRESHOLDS
def test_alert_summary_has_metric_value_and_threshold(value, alert, two_tracks) -> None:
    rules = alerts(merged(two_tracks, {"alerts": {value: 0.0625}}))
    threshold = {"p99Seconds": "0.0625s", "driftPsi": "0.0625"}.get(value, "6.25%")
    assert re.fullmatch(
        rf"\w.* \{{{{ \$value \| \w+ \}}}}.*, above {re.escape(threshold)}\.",
        rules[alert]["annotations"]["summary"],
    )


def test_max_replicas_alert_requires_an_autoscaler(minimal) -> None:
    assert "TidegateMaxReplicasReached" in alerts(minimal)
    assert "TidegateMaxReplicasReached" not in alerts(merged(minimal, {"autoscaling": {"type": "none"}}))


def test_canary_alert_compares_with_zero_if_stable_is_idle(two_tracks) -> None:
    # The error rate of an idle track is 0 / 0: NaN, which no comparison with the canary exceeds.
    assert ">= 0 or vector(0))" in alerts(two_tracks)["TidegateCanaryErrorRate"]["expr"]


def test_canary_alert_compares_the_canary_with_stable(minimal, two_tracks) -> None:
    assert "TidegateCanaryErrorRate" not in alerts(minimal)
    expression = alerts(two_tracks)["TidegateCanaryErrorRate"]["expr"]
    assert 'service="demo-canary-predictor"' in expression
    assert 'service="demo-predictor"' in expression


def test_dashboard_queries_select_this_release(minimal) -> None:
    rendered = dashboard(minimal)
    assert rendered["title"] == "Tidegate: demo in models"
    for panel in rendered["panels"]:
        for target in panel.get("targets", []):
            assert 'namespace="models"' in target["expr"]


def test_dashboard_uid_is_unique_and_stable(minimal) -> None:
    identifier = dashboard(minimal)["uid"]
    assert re.fullmatch(r"[0-9a-f]{40}", identifier)  # Grafana allows 40 characters
    assert dashboard(merged(minimal, {"canary": {"weight": 0}}))["uid"] == identifier
    assert dashboard(minimal, namespace="elsewhere")["uid"] != identifier


def test_dashboard_panels_are_unique_and_do_not_overlap(minimal) -> None:
    panels = dashboard(minimal)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    occupied: set[tuple[int, int]] = set()
    for panel in panels:
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= 24
        cells = {
            (x, y)
            for x in range(position["x"], position["x"] + position["w"])
            for y in range(position["y"], position["y"] + position["h"])
        }
        assert not cells & occupied, panel["title"]
        occupied |= cells

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Alerts and dashboard of helm/tidegate: about this release, complete, and explained.

That the metrics which they name exist is for tests/protocol/test_metric_names.py, which has servers to ask.
"""

import json
import re
from typing import Any

import pytest

from tests.charts.chart import ROOT, Object, Values, of_kind, render
from tests.charts.conftest import merged

ALERTS = {"alerts": {"enabled": True}}


def alerts(values: Values, **options: Any) -> dict[str, Object]:
    """The rules by their names."""
    [group] = of_kind(render(merged(values, ALERTS), **options), "PrometheusRule")["demo"]["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def dashboard(values: Values, **options: Any) -> Any:
    objects = render(merged(values, {"dashboard": {"enabled": True}}), **options)
    [text] = of_kind(objects, "ConfigMap")["demo-dashboard"]["data"].values()
    assert "@" not in text
    return json.loads(text)


def test_alerts_are_about_this_release_and_not_about_client_mistakes(two_tracks) -> None:
    rules = alerts(two_tracks)
    for rule in rules.values():
        assert 'namespace="models"' in rule["expr"]
        assert re.search(r"demo(\(-canary\)\?)?-(predictor|hpa)", rule["expr"])
    assert "4.." not in rules["TidegateHighErrorRate"]["expr"]
    assert "429" not in rules["TidegateHighErrorRate"]["expr"]


def test_every_alert_has_a_severity_two_sentences_and_a_section_of_the_runbook(two_tracks) -> None:
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
    assert {name.lower() for name in rules} == sections  # and the runbook explains no other


@pytest.mark.parametrize(
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
def test_a_threshold_is_a_value(value, alert, two_tracks) -> None:
    rules = alerts(merged(two_tracks, {"alerts": {value: 0.0625}}))
    assert re.search(r"> 0\.0625\b", rules[alert]["expr"])


def test_an_alert_about_an_autoscaler_needs_one(minimal) -> None:
    assert "TidegateMaxReplicasReached" in alerts(minimal)
    assert "TidegateMaxReplicasReached" not in alerts(merged(minimal, {"autoscaling": {"type": "none"}}))


def test_an_alert_about_the_canary_needs_one_and_compares_it_with_the_stable_track(
    minimal, two_tracks
) -> None:
    assert "TidegateCanaryErrorRate" not in alerts(minimal)
    expression = alerts(two_tracks)["TidegateCanaryErrorRate"]["expr"]
    assert 'service="demo-canary-predictor"' in expression
    assert 'service="demo-predictor"' in expression


def test_the_dashboard_is_valid_and_about_this_release(minimal) -> None:
    shown = dashboard(minimal)
    assert shown["title"] == "Tidegate: demo in models"
    for panel in shown["panels"]:
        for target in panel.get("targets", []):
            assert 'namespace="models"' in target["expr"]


def test_a_dashboard_has_an_identifier_of_its_own_that_stays(minimal) -> None:
    identifier = dashboard(minimal)["uid"]
    assert re.fullmatch(r"[0-9a-f]{40}", identifier)  # Grafana takes no more than 40 characters
    assert dashboard(merged(minimal, {"canary": {"weight": 0}}))["uid"] == identifier
    assert dashboard(minimal, namespace="elsewhere")["uid"] != identifier


def test_panels_are_told_apart_and_do_not_overlap(minimal) -> None:
    panels = dashboard(minimal)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Alerts and dashboards: their labels, texts, runbook and settings.

``tests/alerts`` evaluates the rules. ``tests/protocol/test_metric_names.py`` compares the names of metrics
with those of a running server.
"""

import json
import re
from typing import Any

import markdown
import pytest

from tests.charts.chart import ROOT, InvalidValuesError, Object, Values, of_kind, render
from tests.charts.conftest import merged

ALERTS = {"alerts": {"enabled": True}}


def alerts(values: Values, track: str | None = None) -> dict[str, Object]:
    """Return the alerting rules of one track or of both, by name."""
    groups = of_kind(render(merged(values, ALERTS)), "PrometheusRule")["demo"]["spec"]["groups"]
    return {
        rule["alert"]: rule
        for group in groups
        if track is None or group["name"].endswith(f".{track}")
        for rule in group["rules"]
    }


def dashboard(values: Values, **options: Any) -> Any:
    """Return the dashboard of a release, without variables."""
    objects = render(merged(values, {"dashboard": {"enabled": True}}), **options)
    [text] = of_kind(objects, "ConfigMap")["demo-dashboard"]["data"].values()
    assert not re.search(r"@|\$(namespace|release)", text)
    return json.loads(text)


def fleet_dashboards(**options: Any) -> dict[str, Any]:
    """Return the dashboards of a fleet, `overview` and `release`."""
    [config] = of_kind(render({}, "tidegate-monitoring", **options), "ConfigMap").values()
    assert not any("@" in text for text in config["data"].values())
    return {name.split(".")[-2]: json.loads(text) for name, text in config["data"].items()}


def test_alert_has_texts_and_labels_of_its_track(two_tracks) -> None:
    for track, service in (("stable", "demo-predictor"), ("canary", "demo-canary-predictor")):
        for name, rule in alerts(two_tracks, track).items():
            identity = {"namespace": "models", "release": "demo", "track": track, "service": service}
            if name in ("TidegateCanaryErrorRate", "TidegateRolloutStalled"):
                del identity["service"]  # they are about both tracks
            severity = {"severity": rule["labels"]["severity"]}
            assert severity["severity"] in ("critical", "warning")
            assert rule["labels"] == identity | severity
            assert rule["annotations"].keys() == {"summary", "description"}
            assert rule["annotations"]["summary"].endswith(".")
            assert rule["annotations"]["description"].endswith(".")


def anchors(page: str) -> set[str]:
    """Return the anchors that `make docs` gives to the sections of a page."""
    converter = markdown.Markdown(extensions=["toc"])
    converter.convert((ROOT / "docs" / page).read_text())
    [title] = converter.toc_tokens
    return {section["id"] for section in title["children"]}


@pytest.mark.parametrize("end", ["", "#"])
@pytest.mark.parametrize("chart", ["tidegate", "tidegate-monitoring"])
def test_runbook_address_is_a_section_of_the_runbook(chart, end, two_tracks) -> None:
    url = "https://wiki.example.com/runbook"
    base = two_tracks if chart == "tidegate" else {}
    values = merged(base, {"alerts": {"enabled": True, "runbookUrl": url + end}})
    [rules] = of_kind(render(values, chart), "PrometheusRule").values()
    urls = {
        rule["annotations"]["runbook_url"] for group in rules["spec"]["groups"] for rule in group["rules"]
    }
    assert urls == {f"{url}#{anchor}" for anchor in anchors("runbook.md")}  # it has no other section


def test_rule_is_off_by_its_name_only(two_tracks) -> None:
    every = alerts(two_tracks)
    for name in every:
        settings = {"alerts": {"rules": {name: {"enabled": False}}}}
        assert alerts(merged(two_tracks, settings)).keys() == every.keys() - {name}


def test_rule_settings_replace_severity_duration_and_labels(two_tracks) -> None:
    settings = {"severity": "page", "for": "1h", "labels": {"team": "platform"}}
    values = {"ruleLabels": {"team": "credit", "tier": "1"}, "rules": {"TidegateNotReady": settings}}
    rules = alerts(merged(two_tracks, {"alerts": values}), "stable")
    changed, other = rules["TidegateNotReady"], rules["TidegateHighErrorRate"]
    assert changed["for"] == "1h"
    assert {"severity": "page", "team": "platform", "tier": "1"}.items() <= changed["labels"].items()
    assert {"severity": "critical", "team": "credit", "tier": "1"}.items() <= other["labels"].items()
    assert {"namespace": "models", "release": "demo"}.items() <= changed["labels"].items()


@pytest.mark.parametrize(
    ("alerts", "expected"),
    [
        ({"rules": {"TidegateTypo": {"enabled": False}}}, "TidegateTypo"),
        ({"rules": {"TidegateNotReady": {"for": "soon"}}}, "for"),
        ({"ruleLabels": {"release": "mine"}}, "release"),
        ({"ruleLabels": {"a-b": "c"}}, "a-b"),
        ({"minErrorResponses": 0}, "minErrorResponses"),
    ],
)
@pytest.mark.parametrize("chart", ["tidegate", "tidegate-monitoring"])
def test_invalid_rule_setting_is_rejected(chart, alerts, expected, minimal) -> None:
    with pytest.raises(InvalidValuesError, match=expected):
        render(merged(minimal if chart == "tidegate" else {}, {"alerts": alerts}), chart)


def test_rules_move_to_a_namespace_under_a_unique_name(minimal) -> None:
    values = merged(minimal, {"alerts": {"enabled": True, "namespace": "monitoring"}})
    names = set()
    for namespace in ("models", "elsewhere"):
        [rules] = of_kind(render(values, namespace=namespace), "PrometheusRule").values()
        assert rules["metadata"]["namespace"] == "monitoring"
        names.add(rules["metadata"]["name"])
        for group in rules["spec"]["groups"]:
            assert {rule["labels"]["namespace"] for rule in group["rules"]} == {namespace}
    assert names == {"models.demo", "elsewhere.demo"}


def test_max_replicas_alert_requires_an_autoscaler(minimal) -> None:
    assert "TidegateMaxReplicasReached" in alerts(minimal)
    assert "TidegateMaxReplicasReached" not in alerts(merged(minimal, {"autoscaling": {"type": "none"}}))


def test_fleet_alerts_select_its_namespaces() -> None:
    [rules] = of_kind(
        render({"namespaces": ["credit", "fraud"]}, "tidegate-monitoring"), "PrometheusRule"
    ).values()
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            metrics = re.findall(r"\b[a-z_]+\{", rule["expr"])
            assert metrics
            assert rule["expr"].count('namespace=~"credit|fraud"') == len(metrics)


def test_dashboard_queries_select_this_release(minimal) -> None:
    rendered = dashboard(minimal)
    assert rendered["title"] == "Tidegate: demo in models"
    assert [variable["name"] for variable in rendered["templating"]["list"]] == ["datasource"]
    for panel in rendered["panels"]:
        for target in panel.get("targets", []):
            assert 'namespace="models"' in target["expr"]
            assert re.search(r'"demo\(-canary\)\?-(predictor|\(hpa\|keda\))', target["expr"])


def test_dashboard_panels_are_those_of_the_fleet(minimal) -> None:
    own, fleet = dashboard(minimal)["panels"], fleet_dashboards()["release"]["panels"]
    selected = json.loads(json.dumps(fleet).replace("$namespace", "models").replace("$release", "demo"))
    assert own == selected


def test_dashboard_uid_is_unique_and_stable(minimal) -> None:
    identifier = dashboard(minimal)["uid"]
    assert re.fullmatch(r"[0-9a-f]{40}", identifier)  # Grafana allows 40 characters
    assert dashboard(merged(minimal, {"canary": {"weight": 0}}))["uid"] == identifier
    assert dashboard(minimal, namespace="elsewhere")["uid"] != identifier
    fleet = [one["uid"] for name in ("a", "b") for one in fleet_dashboards(release=name).values()]
    assert len({identifier, *fleet}) == 5


def test_dashboard_file_is_unique_among_namespaces(minimal) -> None:
    names = [
        name
        for namespace, release in (("a", "b-c"), ("a-b", "c"))
        for objects in (
            render(merged(minimal, {"dashboard": {"enabled": True}}), release=release, namespace=namespace),
            render({}, "tidegate-monitoring", release, namespace),
        )
        for config in of_kind(objects, "ConfigMap").values()
        for name in config["data"]
    ]
    assert len(set(names)) == len(names) == 6


def test_overview_links_to_the_dashboard_of_a_release() -> None:
    dashboards = fleet_dashboards()
    links = [
        link["url"]
        for panel in dashboards["overview"]["panels"]
        for override in panel.get("fieldConfig", {}).get("overrides", [])
        for setting in override["properties"]
        if setting["id"] == "links"
        for link in setting["value"]
    ]
    assert links
    parameters = {variable["name"] for variable in dashboards["release"]["templating"]["list"]}
    for link in links:
        assert link.startswith(f"/d/{dashboards['release']['uid']}?")
        assert set(re.findall(r"var-(\w+)=", link)) == parameters


def test_overview_queries_select_releases_of_the_chosen_namespaces() -> None:
    for panel in fleet_dashboards()["overview"]["panels"]:
        for target in panel.get("targets", []):
            metrics = re.findall(r"\b[A-Za-z_]+\{", target["expr"])
            assert target["expr"].count('namespace=~"$namespace"') == len(metrics) > 0


@pytest.mark.parametrize("name", ["overview", "release"])
def test_dashboard_panels_are_unique_and_do_not_overlap(name) -> None:
    panels = fleet_dashboards()[name]["panels"]
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

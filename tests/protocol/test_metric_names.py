# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Every metric that a dashboard, an alert, an autoscaler or a page names is one that a server exposes.

A misspelt name is an empty panel and an alert that never fires, and nothing else would tell.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.charts.chart import ROOT, of_kind, render
from tests.support.servers import LiveServer
from tidegate.protocol.requests import v1_body
from tidegate.protocol.samples import sample_rows

DIGEST = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
VALUES: dict[str, Any] = {
    "model": {"uri": "s3://models/breast-cancer", "digest": DIGEST},
    "canary": {"digest": DIGEST[::-1]},
    "serviceMonitor": {"enabled": True},
    "alerts": {"enabled": True},
    "dashboard": {"enabled": True},
}
KEDA = {"autoscaling": {"type": "keda", "keda": {"prometheusAddress": "http://prometheus:9090"}}}

KUBE_STATE_METRICS = {
    "kube_deployment_status_replicas_available",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_horizontalpodautoscaler_spec_min_replicas",
    "kube_horizontalpodautoscaler_status_current_replicas",
    "kube_horizontalpodautoscaler_status_desired_replicas",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_waiting_reason",
    "kube_pod_init_container_status_waiting_reason",
}
"""From its documentation (docs/metrics/workload); they are not ours to expose."""

PROMETHEUS = {"up"}


@pytest.fixture(scope="module")
def types(numeric_server: LiveServer, regression_server: LiveServer) -> dict[str, str]:
    """The type of each metric that a classifier's or a regression's server exposes."""
    found = {}
    for server in (numeric_server, regression_server):
        for line in httpx.get(f"{server.http}/metrics").text.splitlines():
            if line.startswith("# TYPE "):
                name, kind = line.removeprefix("# TYPE ").split()
                found[name] = kind
    return found


@pytest.fixture(scope="module")
def exposed(types: dict[str, str]) -> set[str]:
    """Each name that a query can ask for."""
    parts = {
        f"{name}_{part}"
        for name, kind in types.items()
        if kind == "histogram"
        for part in ("bucket", "count", "sum")
    }
    return types.keys() | parts


def asked(expression: str) -> set[str]:
    """The metrics that a query selects from; every selector here has braces."""
    return set(re.findall(r"\b([a-z_]+)\{", expression))


def panels() -> Iterator[tuple[str, str]]:
    [text] = of_kind(render(VALUES), "ConfigMap")["demo-dashboard"]["data"].values()
    for panel in json.loads(text)["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def alerts() -> Iterator[tuple[str, str]]:
    [group] = of_kind(render(VALUES), "PrometheusRule")["demo"]["spec"]["groups"]
    for rule in group["rules"]:
        yield rule["alert"], rule["expr"]


def queries() -> Iterator[tuple[str, str]]:
    for name, scaled in of_kind(render(VALUES | KEDA), "ScaledObject").items():
        for trigger in scaled["spec"]["triggers"]:
            yield f"KEDA {name}", trigger["metadata"]["query"]


def test_every_query_is_about_metrics_that_exist(exposed: set[str]) -> None:
    for source in (panels, alerts, queries):
        expressions = list(source())
        assert expressions
        for where, expression in expressions:
            names = asked(expression)
            assert names, where
            assert names <= exposed | KUBE_STATE_METRICS | PROMETHEUS, where


def test_a_misspelt_name_is_found(exposed: set[str]) -> None:
    assert asked('sum(rate(tidegate_request_total{a="b"}[5m]))') == {"tidegate_request_total"}
    assert "tidegate_request_total" not in exposed


def test_every_page_names_metrics_that_exist(exposed: set[str]) -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        named = set(
            re.findall(r"\b(?:tidegate|request|process)_[a-z_]+_(?:total|seconds|bytes)\b", page.read_text())
        )
        named |= set(re.findall(r"`(tidegate_[a-z_]+)`", page.read_text()))
        assert named <= exposed, page.name


def documented() -> dict[str, tuple[str, set[str]]]:
    """By metric, the first word of its type and its labels, as the tables of the page have them."""
    text, found = (ROOT / "docs" / "monitoring.md").read_text(), {}
    for cells in re.findall(r"^\| (`tidegate_[^|]+)\| ([^|]+)\| ([^|]*)\|", text, flags=re.MULTILINE):
        for name in re.findall(r"`([a-z_]+)`", cells[0]):
            found[name] = (cells[1].split(",")[0].strip(), set(re.findall(r"`([a-z_]+)`", cells[2])))
    return found


def test_the_page_has_every_metric_of_ours_with_its_type(types: dict[str, str]) -> None:
    ours = {
        name: kind
        for name, kind in types.items()
        if name.startswith("tidegate_") and not name.endswith("_created")
    }
    assert {name: kind for name, (kind, _) in documented().items()} == ours


def test_the_page_has_the_labels_of_every_metric(
    numeric_server: LiveServer, regression_server: LiveServer
) -> None:
    table = documented()
    for server in (numeric_server, regression_server):
        address = f"{server.http}/v1/models/{server.name}:predict"
        for body in (v1_body(server.bundle.contract, sample_rows(server.bundle.contract, 1, 0)), b"{}"):
            httpx.post(address, content=body, headers={"Content-Type": "application/json"})
        for family in text_string_to_metric_families(httpx.get(f"{server.http}/metrics").text):
            for sample in family.samples:
                name = family.name if family.name in table else f"{family.name}_total"
                if name in table:
                    assert sample.labels.keys() - {"le"} == table[name][1], sample

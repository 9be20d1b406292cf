# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The metrics in dashboards, alerts, autoscalers and pages: a server exposes each of them.

A misspelt name gives an empty panel or an alert that never fires, without any error.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.charts.chart import ROOT, of_kind, render
from tests.charts.conftest import IMAGE
from tests.protocol.clients import one_row, post_once
from tests.support.servers import LiveServer
from tidegate.errors import ConfigurationError
from tidegate.protocol.constants import Protocol
from tidegate.protocol.requests import v1_body
from tidegate_rollout.metrics import METRICS
from tidegate_serving.client import predict
from tidegate_serving.errors import ErrorCode

DIGEST = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
VALUES: dict[str, Any] = {
    "image": IMAGE,
    "model": {"uri": "s3://models/breast-cancer", "digest": DIGEST},
    "canary": {"digest": DIGEST[::-1]},
    "serviceMonitor": {"enabled": True},
    "alerts": {"enabled": True},
    "dashboard": {"enabled": True},
}
KEDA: dict[str, dict[str, Any]] = {
    "metrics-api": {},
    "prometheus": {"prometheusAddress": "http://prometheus:9090"},
}
"""By source, the other settings of KEDA that it needs."""

KUBE_STATE_METRICS = {
    "kube_deployment_status_replicas_available",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_horizontalpodautoscaler_spec_min_replicas",
    "kube_horizontalpodautoscaler_status_current_replicas",
    "kube_horizontalpodautoscaler_status_desired_replicas",
    "kube_lease_renew_time",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_waiting_reason",
    "kube_pod_init_container_status_waiting_reason",
}
"""Metrics of kube-state-metrics, from its documentation, docs/metrics."""

PROMETHEUS = {"up", "ALERTS"}

ERROR_CODES = '"50[0-3]|INTERNAL|UNKNOWN|UNAVAILABLE"'
"""The status codes of the error rate, as PromQL writes them."""

PACKAGES = {path.parent.name for path in ROOT.glob("*/tidegate_*/__init__.py")}
"""Packages, whose names look like those of metrics."""


def scrape_families(server: LiveServer) -> list[Metric]:
    return list(text_string_to_metric_families(httpx.get(server.metrics, timeout=30).text))


@pytest.fixture(scope="module")
def types(numeric_server: LiveServer, regression_server: LiveServer) -> dict[str, str]:
    """The type of each metric that the server of a classifier or of a regression exposes."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for server in (numeric_server, regression_server)
        for family in scrape_families(server)
    }


@pytest.fixture(scope="module")
def exposed(types: dict[str, str]) -> set[str]:
    """Each name that a query can select."""
    parts = {
        f"{name}_{part}"
        for name, kind in types.items()
        if kind == "histogram"
        for part in ("bucket", "count", "sum")
    }
    return types.keys() | parts


def selected(expression: str) -> set[str]:
    """Return the metrics that a query selects; every selector here has braces."""
    return set(re.findall(r"\b([A-Za-z_]+)\{", expression))


def panels() -> Iterator[tuple[str, str]]:
    for objects in (render(VALUES), render({}, "tidegate-monitoring")):
        [config] = of_kind(objects, "ConfigMap").values()
        for text in config["data"].values():
            for panel in json.loads(text)["panels"]:
                for target in panel.get("targets", []):
                    yield panel["title"], target["expr"]


def alerts() -> Iterator[tuple[str, str]]:
    for objects in (render(VALUES), render({}, "tidegate-monitoring")):
        [rules] = of_kind(objects, "PrometheusRule").values()
        for group in rules["spec"]["groups"]:
            for rule in group["rules"]:
                yield rule["alert"], rule["expr"]


def triggers() -> Iterator[tuple[str, str]]:
    for source, settings in KEDA.items():
        values = VALUES | {"autoscaling": {"type": "keda", "keda": {"source": source} | settings}}
        for name, scaled in of_kind(render(values), "ScaledObject").items():
            for trigger in scaled["spec"]["triggers"]:
                metadata = trigger["metadata"]
                # KEDA parses the location of a value as a selector, which may have no braces.
                expression = metadata.get("query") or f"{metadata['valueLocation']}{{}}"
                yield f"KEDA {name} by {source}", expression


def test_every_query_selects_metrics_that_exist(exposed: set[str]) -> None:
    for source in (panels, alerts, triggers):
        expressions = list(source())
        assert expressions
        for place, expression in expressions:
            names = selected(expression)
            assert names, place
            assert names <= exposed | KUBE_STATE_METRICS | PROMETHEUS, place


def test_misspelt_name_is_found(exposed: set[str]) -> None:
    assert selected('sum(rate(tidegate_request_total{a="b"}[5m]))') == {"tidegate_request_total"}
    assert "tidegate_request_total" not in exposed


def test_every_page_names_metrics_that_exist(exposed: set[str]) -> None:
    # The changelog names the metrics of earlier versions.
    for page in {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")} - {ROOT / "CHANGELOG.md"}:
        named = set(
            re.findall(r"\b(?:tidegate|request|process)_[a-z_]+_(?:total|seconds|bytes)\b", page.read_text())
        )
        named |= set(re.findall(r"`(tidegate_[a-z_]+)`", page.read_text()))
        assert named - PACKAGES <= exposed | METRICS.keys(), page.name


def documented() -> dict[str, tuple[str, set[str]]]:
    """Return the type and the labels of each metric in the tables of docs/monitoring.md."""
    text, metrics = (ROOT / "docs" / "monitoring.md").read_text(), {}
    for cells in re.findall(r"^\| (`tidegate_[^|]+)\| ([^|]+)\| ([^|]*)\|", text, flags=re.MULTILINE):
        for name in re.findall(r"`([a-z_]+)`", cells[0]):
            metrics[name] = (cells[1].split(",")[0].strip(), set(re.findall(r"`([a-z_]+)`", cells[2])))
    return metrics


def test_page_has_every_metric_of_tidegate_with_its_type(types: dict[str, str]) -> None:
    expected = {
        name: kind
        for name, kind in types.items()
        if name.startswith("tidegate_") and not name.endswith("_created")
    }
    assert {name: kind for name, (kind, _) in documented().items()} == expected


def test_page_has_the_labels_of_every_metric(
    numeric_server: LiveServer, regression_server: LiveServer
) -> None:
    table = documented()
    for server in (numeric_server, regression_server):
        for body in (v1_body(server.bundle.contract, one_row(server)), b"{}"):
            post_once(server, f"/v1/models/{server.name}:predict", body)
        for family in scrape_families(server):
            for sample in family.samples:
                name = family.name if family.name in table else f"{family.name}_total"
                if name in table:
                    assert sample.labels.keys() - {"le"} == table[name][1], sample


def test_model_name_has_one_label_name(numeric_server: LiveServer) -> None:
    """A dashboard joins ``tidegate_model_info`` with KServe's histograms by this label."""
    names: dict[str, set[str]] = {}
    for family in scrape_families(numeric_server):
        for sample in family.samples:
            for name, value in sample.labels.items():
                if value == numeric_server.name:
                    names.setdefault(name, set()).add(family.name)
    stages = {f"request_{stage}_seconds" for stage in ("preprocess", "predict", "postprocess")}
    assert names.keys() == {"model_name"}
    assert names["model_name"] >= stages | {"tidegate_model_info"}


def counters(server: LiveServer) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the values of Tidegate's counters in one scrape, by sample name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in scrape_families(server)
        if family.type == "counter" and family.name.startswith("tidegate_")
        for sample in family.samples
    }


def test_first_scrape_has_every_counter_at_zero(unused_server: LiveServer) -> None:
    """``increase()`` does not see the event that creates a series."""
    first = counters(unused_server)
    assert not any(first.values())
    for protocol in ("v1", "v2", "grpc"):
        for code in ("OK", "INTERNAL") if protocol == "grpc" else ("200", "500"):
            assert ("tidegate_requests_total", (("code", code), ("protocol", protocol))) in first
    for error in ErrorCode:
        assert ("tidegate_requests_rejected_total", (("reason", error.reason),)) in first

    valid, invalid = one_row(unused_server), [[None] * len(unused_server.bundle.contract.features)]
    for protocol in (Protocol.V1, Protocol.V2, Protocol.GRPC):
        address = unused_server.grpc if protocol is Protocol.GRPC else unused_server.http
        predict(address, unused_server.name, protocol, valid)
        with pytest.raises(ConfigurationError):
            predict(address, unused_server.name, protocol, invalid)
    post_once(unused_server, f"/v1/models/{unused_server.name}:predict", b"not JSON")
    second = counters(unused_server)
    assert second.keys() == first.keys()
    assert second["tidegate_requests_total", (("code", "400"), ("protocol", "v1"))] == 2
    assert second["tidegate_requests_rejected_total", (("reason", "invalid_argument"),)] == 4


def test_error_rate_has_one_definition() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    section = page.partition("\n## Error rate\n")[2].partition("\n## ")[0]
    assert ERROR_CODES in section
    assert page.count("50[0-3]") == 1
    alert_rates = [expression for name, expression in alerts() if name == "TidegateHighErrorRate"]
    assert len(alert_rates) == 3
    assert all(ERROR_CODES in expression for expression in alert_rates)
    rates = [expression for title, expression in panels() if title.startswith("Error rate")]
    assert len(rates) == 3
    assert all(ERROR_CODES in expression for expression in rates)

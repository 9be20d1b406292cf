# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Alerts and dashboards in Prometheus and Alertmanager: one release fails, and the other one is quiet.

Both releases have rules of their own, and the rules of a fleet are about both. The model fails on negative
numbers, as the transformation of Box and Cox does.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer

import tidegate_training
from tests.e2e.alert_receiver import AlertReceiver
from tests.e2e.kube import Namespace
from tests.e2e.model import Model, push
from tests.e2e.prometheus import query
from tests.e2e.release import Release
from tests.e2e.target import Target
from tests.e2e.traffic import ClientPod

FEATURES = ["mean radius", "mean texture"]
ALERT = "TidegateHighErrorRate"
RULES = {ALERT: {"for": "30s"}}
VALUES: dict[str, Any] = {
    # Prometheus has to scrape a replica before its first failure, so none may start later.
    "autoscaling": {"minReplicas": 1, "maxReplicas": 1},
    "route": {"enabled": False},
    "backendTrafficPolicy": {"enabled": False},
    "serviceMonitor": {"enabled": True, "interval": "5s"},
    "alerts": {"enabled": True, "rules": RULES},
    "dashboard": {"enabled": True},
}
FLEET: dict[str, Any] = {"alerts": {"rules": RULES, "ruleLabels": {"rules": "fleet"}}}
FAILURES = {"failing": 10, "quiet": 2}
"""Failed requests by release; both have 20 successful ones."""
SILENCE_SECONDS = 75
"""Longer than two evaluations of the rules and the alert's duration."""
WITHOUT_DATA = {
    "Predictions: deciles 1, 5 and 9 (regression)",  # the model is a classifier
    "Restarts per hour",  # no pod has restarted
}
"""Panels without data in this scenario."""
PROGRAM = """
import collections, json, sys, urllib.error, urllib.request

def post(url, rows):
    body = json.dumps({"instances": rows}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code

url, failures = sys.argv[1], int(sys.argv[2])
codes = [post(url, [[15.0, 20.0]] * rows) for rows in [1] * 19 + [2000]]
codes += [post(url, [[-1.0, 20.0]]) for _ in range(failures)]
print(json.dumps(collections.Counter(codes)))
"""
"""Sends valid requests, one with enough rows for a measurement of the drift, and then requests that fail."""


@pytest.fixture
def fragile(target: Target, tmp_path: Path) -> Model:
    """A model that fails on negative numbers, which the contract allows."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = make_pipeline(PowerTransformer(method="box-cox"), LogisticRegression()).fit(X[FEATURES], y)
    return push(
        tidegate_training.bundle(model, X[FEATURES], y, name="fragile", directory=tmp_path / "bundle"), target
    )


def panels(namespace: Namespace, config_map: str) -> list[tuple[str, str]]:
    """Return the title of a panel and a query, for each query of the dashboards in a ConfigMap."""
    dashboards = map(json.loads, namespace.get(f"configmap/{config_map}")["data"].values())
    return [
        (panel["title"], target["expr"])
        for dashboard in dashboards
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]


def test_alerts_fire(
    namespace: Namespace,
    target: Target,
    gateway: str,
    fragile: Model,
    tmp_path: Path,
    evidence: dict[str, Any],
) -> None:
    receiver, client = AlertReceiver(namespace, target), ClientPod(namespace, target, gateway)
    client.start()
    receiver.start()
    releases = [Release(name, namespace, target, tmp_path) for name in FAILURES]
    for release in releases:
        release.install(fragile, VALUES, wait=False)
    fleet = json.dumps(FLEET | {"namespaces": [namespace.name]})
    namespace.helm("install", "fleet", "helm/tidegate-monitoring", "--values=-", stdin=fleet)
    for release in releases:
        release.wait()
    client.wait()

    def unscraped() -> str | None:
        up = f'sum(up{{namespace="{namespace.name}"}}) by (release)'
        scraped = {sample["metric"].get("release") for sample in query(up) if float(sample["value"][1]) >= 1}
        missing = FAILURES.keys() - scraped
        return f"not scraped: {', '.join(sorted(missing))}" if missing else None

    namespace.wait("both releases in Prometheus", unscraped, timeout=180, interval=2)
    for release in releases:
        url = f"http://{release.service}/v1/models/{fragile.name}:predict"
        codes = json.loads(client.run("python", "-c", PROGRAM, url, str(FAILURES[release.name])))
        assert codes == {"200": 20, "500": FAILURES[release.name]}
    failed_at = time.time()

    def alert_missing() -> str | None:
        arrived = receiver.alerts()
        return None if len(arrived) >= 2 else f"{len(arrived)} alerts have arrived"

    waited = namespace.wait("the alerts of both sets of rules", alert_missing, timeout=240, interval=2)
    time.sleep(SILENCE_SECONDS)
    arrived = receiver.alerts()
    evidence["arrived"] = [alert["labels"] for alert in arrived]
    evidence["seconds_to_the_alerts"] = round(waited, 1)
    evidence["seconds_observed"] = round(time.time() - failed_at, 1)
    labels = {
        "alertname": ALERT,
        "namespace": namespace.name,
        "release": "failing",
        "track": "stable",
        "service": "failing-predictor",
        "severity": "critical",
    }
    own = [
        {name: value for name, value in alert["labels"].items() if not name.startswith("prometheus")}
        for alert in arrived
    ]
    assert sorted(own, key=len) == [labels, labels | {"rules": "fleet"}]
    for alert in arrived:
        text = f"Error rate of the stable track of {namespace.name}/failing is 33.33%, above 1%."
        assert alert["annotations"]["summary"] == text
    assert_panels_have_data(namespace, evidence)


def assert_panels_have_data(namespace: Namespace, evidence: dict[str, Any]) -> None:
    """Evaluate each query of the dashboards of a release and of the fleet."""
    variables = {"$__rate_interval": "5m", "$namespace": namespace.name, "$release": "failing"}
    empty = set()
    queries = panels(namespace, "failing-dashboard") + panels(namespace, "fleet-dashboards")
    for title, expression in queries:
        for name, value in variables.items():
            expression = expression.replace(name, value)
        if not query(expression):
            empty.add(title)
    evidence["dashboard_queries"] = len(queries)
    assert empty == WITHOUT_DATA

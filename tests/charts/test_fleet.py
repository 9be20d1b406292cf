# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""examples/fleet: Argo CD's ApplicationSet finds values files that the charts render."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.chart import ROOT, Object, of_kind, render
from tests.charts.conftest import merged

FLEET = ROOT / "examples" / "fleet"
APPLICATIONS: Any = yaml.safe_load((FLEET / "applicationset.yaml").read_text())["spec"]
[FILES] = APPLICATIONS["generators"][0]["git"]["files"]
MODELS = sorted(FLEET.glob(FILES["path"]))


def expand(template: str, file: Path) -> str:
    """Fill in a template of the ApplicationSet for a file, as Argo CD's files generator does."""
    folder = file.parent.relative_to(FLEET)
    values = {
        ".path.path": str(folder),
        ".path.basename": folder.name,
        ".path.filename": file.name,
        'trimSuffix ".yaml" .path.filename': file.stem,
    }
    return re.sub(r"\{\{ (.+?) \}\}", lambda match: values[match[1]], template)


def application(file: Path) -> tuple[str, list[Object]]:
    """Return the name of a file's Application and the objects of its chart."""
    template = APPLICATIONS["template"]
    chart, fleet = template["spec"]["sources"]
    values: dict[str, Any] = {}
    for path in chart["helm"]["valueFiles"]:
        reference, _, name = expand(path, file).partition("/")
        assert reference == f"${fleet['ref']}"
        values = merged(values, yaml.safe_load((FLEET / name).read_text()))
    objects = render(
        values,
        chart["path"].removeprefix("helm/"),
        expand(chart["helm"]["releaseName"], file),
        expand(template["spec"]["destination"]["namespace"], file),
    )
    return expand(template["metadata"]["name"], file), objects


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_fleet_model_is_a_release_that_is_scraped(file: Path) -> None:
    name, objects = application(file)
    assert name == f"{file.parent.name}-{file.stem}"
    assert of_kind(objects, "InferenceService").keys() == of_kind(objects, "ServiceMonitor").keys()
    assert not of_kind(objects, "PrometheusRule")
    assert not of_kind(objects, "ConfigMap")


def test_fleet_models_have_hostnames_of_their_own() -> None:
    hosts = [
        host
        for file in MODELS
        for route in of_kind(application(file)[1], "HTTPRoute").values()
        for host in route["spec"]["hostnames"]
    ]
    assert len(set(hosts)) == len(hosts) == len(MODELS) == 3


def test_fleet_monitoring_has_alerts_with_a_runbook() -> None:
    source = yaml.safe_load((FLEET / "monitoring.yaml").read_text())["spec"]["source"]
    objects = render(
        source["helm"]["valuesObject"], source["path"].removeprefix("helm/"), source["helm"]["releaseName"]
    )
    [rules] = of_kind(objects, "PrometheusRule").values()
    assert rules["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    for rule in rules["spec"]["groups"][0]["rules"]:
        assert rule["annotations"]["runbook_url"].startswith("https://docs.example.com/tidegate/runbook/#")

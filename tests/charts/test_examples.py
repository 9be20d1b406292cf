# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Every values file in ``ci/`` and every example in a schema renders, because users copy them."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import pytest
import yaml

from helm import generate
from tests.charts import vendor
from tests.charts.chart import (
    HELM,
    OLDEST_KUBERNETES,
    ROOT,
    containers,
    kubernetes_schemas,
    notes,
    pod_specs,
    render,
)

CHARTS = sorted(path.parent.name for path in HELM.glob("*/Chart.yaml"))
POD_CHARTS = [chart for chart in CHARTS if chart != "tidegate-monitoring"]
"""The charts with pods."""
CI_FILES = sorted(HELM.glob("*/ci/*-values.yaml"))
POD_CI_FILES = [path for path in CI_FILES if path.parent.parent.name in POD_CHARTS]


def described(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every named value of a schema, by its path."""
    for key, part in schema.get("properties", {}).items():
        name = f"{path}.{key}" if path else key
        yield name, part
        yield from described(part, name)


schema_of = cache(generate.load_schema)


@cache
def defaults_of(chart: str) -> dict[str, Any]:
    return yaml.safe_load((HELM / chart / "values.yaml").read_text())


EXAMPLES = [
    pytest.param(part, example, id=f"{chart}:{name}:{index}")
    for chart in CHARTS
    for name, part in described(schema_of(chart))
    for index, example in enumerate(part.get("examples", []))
]


@pytest.mark.parametrize("path", CI_FILES, ids=lambda path: f"{path.parent.parent.name}/{path.name}")
def test_ci_values_render_valid_objects_and_notes(path: Path) -> None:
    chart = path.parent.parent.name
    values = yaml.safe_load(path.read_text())
    assert render(values, chart)
    text = notes(values, chart)
    assert "<no value>" not in text
    assert "\n\n\n" not in text


def test_objects_are_validated_by_the_documented_versions() -> None:
    versions = sorted(int(folder.name.split(".")[1]) for folder in kubernetes_schemas(OLDEST_KUBERNETES))
    assert versions == list(range(OLDEST_KUBERNETES, versions[-1] + 1))
    text = " ".join((ROOT / "docs" / "install.md").read_text().split())
    assert f"schemas of Kubernetes 1.{OLDEST_KUBERNETES} to 1.{versions[-1]}," in text
    modules = {module.rpartition("/")[2].partition("@")[0]: module for module, _ in vendor.SOURCES.values()}
    for name, module in modules.items():
        minor = module.rpartition("@v")[2].rpartition(".")[0]
        assert re.search(rf"[A-Za-z] {re.escape(minor)}[ ,.]", text), f"{name} {minor}"


@pytest.mark.parametrize("chart", CHARTS)
def test_chart_needs_the_oldest_validated_kubernetes(chart: str) -> None:
    metadata = yaml.safe_load((HELM / chart / "Chart.yaml").read_text())
    assert metadata["kubeVersion"] == f">=1.{OLDEST_KUBERNETES}.0-0"


@pytest.mark.parametrize("path", POD_CI_FILES, ids=lambda path: f"{path.parent.parent.name}/{path.name}")
def test_pods_pass_the_restricted_pod_security_standard(path: Path) -> None:
    pods = pod_specs(render(yaml.safe_load(path.read_text()), path.parent.parent.name))
    assert pods
    for name, pod in pods.items():
        assert_restricted(name, pod)


def assert_restricted(name: str, pod: dict[str, Any]) -> None:
    allowed = {"configMap", "emptyDir", "image", "persistentVolumeClaim", "projected", "secret"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
    assert pod["automountServiceAccountToken"] is False, name
    assert pod["securityContext"]["runAsNonRoot"] is True, name
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
    for volume in pod.get("volumes", []):
        assert volume.keys() - {"name"} <= allowed, f"{name}: {volume}"
    for container in containers(pod):
        security = container["securityContext"]
        where = f"{name}/{container['name']}"
        assert security["allowPrivilegeEscalation"] is False, where
        assert security["privileged"] is False, where
        assert security["readOnlyRootFilesystem"] is True, where
        assert security["runAsNonRoot"] is True, where
        assert security["capabilities"] == {"drop": ["ALL"]}, where
        assert "hostPort" not in str(container.get("ports")), where
        resources = container["resources"]
        assert {"cpu", "memory"} == resources["requests"].keys() == resources["limits"].keys(), where


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_service_account_says_whether_a_token_is_mounted(chart: str) -> None:
    files = [path for path in CI_FILES if path.parent.parent.name == chart]
    pods = [pod_specs(render(yaml.safe_load(path.read_text()), chart)) for path in files]
    description = schema_of(chart)["properties"]["serviceAccount"]["description"]
    assert ("mounts its token" in description) == ("serviceAccountToken" in str(pods))


@pytest.mark.parametrize("chart", CHARTS)
def test_helms_linter_has_nothing_to_say(chart: str) -> None:
    first = next(path for path in CI_FILES if path.parent.parent.name == chart)
    report = helm_python.lint(HELM / chart, yaml.safe_load(first.read_text()), strict=True)
    # The linter recommends an icon, which a tool without a logo does not have.
    complaints = [message for message in report["messages"] if "icon is recommended" not in message["error"]]
    assert complaints == []
    assert not report["errors"]


@pytest.mark.parametrize(("part", "example"), EXAMPLES)
def test_every_example_in_a_schema_is_allowed_by_it(part: dict[str, Any], example: Any) -> None:
    jsonschema.validate(example, part)


@pytest.mark.parametrize("chart", CHARTS)
def test_every_value_is_described_and_has_a_default(chart: str) -> None:
    defaults = defaults_of(chart)
    for name, part in described(schema_of(chart)):
        assert part.get("description"), f"{name} has no description"
        group: Any = defaults
        *groups, key = name.split(".")
        for step in groups:
            group = group[step]
        if name not in ("global", "enabled"):
            assert key in group, f"{name} has no default"


@pytest.mark.parametrize("chart", CHARTS)
def test_default_of_a_value_that_may_be_text_is_no_map(chart: str) -> None:
    """Helm warns if `--set-file` replaces a map by a text."""
    defaults = defaults_of(chart)
    for name, part in schema_of(chart)["properties"].items():
        if {"object", "string"} <= set(part.get("type", ())):
            assert defaults[name] is None, name


@pytest.mark.parametrize("chart", CHARTS)
def test_no_default_is_without_a_schema(chart: str) -> None:
    def tighten(part: dict[str, Any]) -> dict[str, Any]:
        if "properties" not in part:
            return part
        return part | {
            "additionalProperties": False,
            "properties": {name: tighten(child) for name, child in part["properties"].items()},
        }

    jsonschema.validate(defaults_of(chart), tighten(schema_of(chart)))

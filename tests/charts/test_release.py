# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The common parts of the charts: names, validation, and their use as subcharts."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import pytest
import yaml

from tests.charts.chart import (
    HELM,
    InvalidValuesError,
    Values,
    containers,
    load,
    of_kind,
    pod_specs,
    render,
    validated,
)
from tests.charts.conftest import OTHER, merged
from tests.charts.test_examples import CHARTS, POD_CHARTS, defaults_of, described, schema_of


def least(chart: str) -> Values:
    return yaml.safe_load((HELM / chart / "ci" / "minimal-values.yaml").read_text())


def defaulted(chart: str) -> Iterator[tuple[str, Any]]:
    """Yield every value with its default, by its path."""
    for name, _ in described(schema_of(chart)):
        if name not in ("global", "enabled"):
            default: Any = defaults_of(chart)
            for step in name.split("."):
                default = default[step]
            yield name, default


def at_path(name: str, value: Any) -> Values:
    """Return values that hold only the value at a path."""
    for step in reversed(name.split(".")):
        value = {step: value}
    return value


DEFAULTED = [(chart, name, default) for chart in CHARTS for name, default in defaulted(chart)]
WITH_DEFAULT = [(chart, name) for chart, name, default in DEFAULTED if default is not None]
WITHOUT = [(chart, name) for chart, name, default in DEFAULTED if default is None]


@pytest.mark.parametrize(("chart", "name"), WITH_DEFAULT)
def test_no_value_with_a_default_can_be_taken_away_by_null(chart: str, name: str) -> None:
    with pytest.raises(InvalidValuesError, match=f"missing property '{name.rpartition('.')[2]}'"):
        render(merged(least(chart), at_path(name, None)), chart)


@pytest.mark.parametrize(("chart", "name"), WITHOUT)
def test_null_is_allowed_where_it_is_the_default(chart: str, name: str) -> None:
    load(chart).validate_schema(merged(least(chart), at_path(name, None)))


@pytest.fixture
def parent(tmp_path) -> Iterator[helm_python.Chart]:
    """Load a parent chart with every chart as a subchart, each with a condition."""
    for chart in CHARTS:
        shutil.copytree(HELM / chart, tmp_path / "charts" / chart)
    subcharts = [
        {"name": chart, "version": load(chart).version, "condition": f"{chart}.enabled"} for chart in CHARTS
    ]
    metadata = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": subcharts}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(metadata))
    with helm_python.Chart.load(tmp_path) as whole:
        yield whole


def test_subcharts_keep_their_names(parent) -> None:
    values = {chart: {"enabled": True, "fullnameOverride": chart, **least(chart)} for chart in CHARTS}
    values["global"] = {"region": "eu"}
    parent.validate_schema(values)
    rendered = parent.render(values, name="demo", namespace="models")
    for chart in POD_CHARTS:
        metadata = yaml.safe_load(rendered[f"parent/charts/{chart}/templates/common/serviceaccount.yaml"])[
            "metadata"
        ]
        assert metadata["name"] == metadata["labels"]["app.kubernetes.io/name"] == chart


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_subchart_null_value_is_rejected(parent, chart: str) -> None:
    values = {name: least(name) for name in CHARTS}
    parent.validate_schema(values)
    with pytest.raises(helm_python.HelmValuesError, match="missing property 'caKey'"):
        parent.validate_schema(merged(values, {chart: {"objectStore": {"caKey": None}}}))


WRONG = [
    (
        "image: {repository: ''}",
        ["image.repository is not set", "images/Dockerfile", "registry.example.com/"],
    ),
    ("image: {digest: abc}", ['image.digest is "abc"', "64 digits"]),
    (f"image: {{tag: v1, digest: {OTHER}}}", ["image.tag and image.digest", "keep the digest"]),
    ("objectStore: {endpoint: s3.example.com}", ['endpoint is "s3.example.com"', "https://s3.example.com"]),
    (
        "objectStore: {httpsProxy: 'proxy:3128'}",
        ['httpsProxy is "proxy:3128"', "http://proxy.example.com:3128"],
    ),
    *(
        (f"podLabels: {{{label}: x}}", [f"podLabels sets {label}", "remove it"])
        for label in (
            "app.kubernetes.io/instance",
            "app.kubernetes.io/component",
            "batch.kubernetes.io/job-name",
            "serving.kserve.io/inferenceservice",
        )
    ),
    ("podLabels: {team: 'a b'}", ['podLabels.team is "a b"', "at most 63 characters"]),
    (f"podLabels: {{team: {'a' * 64}}}", ["podLabels.team is", "at most 63 characters"]),
    ("podLabels: {Example.com/team: a}", ['podLabels has the key "Example.com/team"', "in lower case"]),
    ("podLabels: {a/b/c: a}", ['podLabels has the key "a/b/c"', "the only '/'"]),
    ("nodeSelector: {zone: -a}", ['nodeSelector.zone is "-a"', "letter or digit first"]),
    (
        "serviceAccount: {annotations: {'a b': x}}",
        ['serviceAccount.annotations has the key "a b"', "expected"],
    ),
    ("podSecurityContext: {runAsUser: 0}", ["runAsUser is 0", "restricted", "keep the image's user"]),
    ("podSecurityContext: {runAsNonRoot: false}", ["runAsNonRoot is false", "restricted", "set it to true"]),
    (
        "podSecurityContext: {seccompProfile: {type: Unconfined}}",
        ["seccompProfile.type is Unconfined", "set it to RuntimeDefault"],
    ),
    *(
        (f"podSecurityContext: {{{wrong}}}", ["a field of containers", "remove it"])
        for wrong in (
            "privileged: true",
            "allowPrivilegeEscalation: true",
            "capabilities: {add: [SYS_ADMIN]}",
            "readOnlyRootFilesystem: false",
        )
    ),
    ("serviceAccount: {name: My_Account}", ['serviceAccount.name is "My_Account"', "expected"]),
    ("serviceAccount: {name: -models}", ['serviceAccount.name is "-models"', "expected"]),
    ("serviceAccount: {name: default}", ["name is 'default'", "serviceAccount.create to false"]),
]


@pytest.mark.parametrize("chart", POD_CHARTS)
@pytest.mark.parametrize(("values", "parts"), WRONG, ids=[values for values, _ in WRONG])
def test_render_invalid_values_name_the_value_and_the_fix(chart: str, values: str, parts: list[str]) -> None:
    with pytest.raises(InvalidValuesError) as caught:
        render(merged(least(chart), yaml.safe_load(values)), chart)
    for part in parts:
        assert part in str(caught.value)


def test_validated_reads_the_schemas_of_every_version() -> None:
    """Kubernetes 1.34 required the status of a pod's condition, and 1.35 does not."""
    [job] = of_kind(render(least("tidegate-training"), "tidegate-training"), "Job").values()
    del job["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"]
    with pytest.raises(jsonschema.ValidationError, match="'status' is a required property"):
        validated(job)


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_render_longest_labels_are_allowed(chart: str) -> None:
    longest = {f"{'a.' * 126}a/{'B' * 63}": "C" * 63, "0": "", "a.b-c_d": "1.0"}
    values = {"podLabels": longest, "nodeSelector": longest, "serviceAccount": {"annotations": longest}}
    pods = pod_specs(render(merged(least(chart), values), chart)).values()
    assert all(pod["nodeSelector"] == longest for pod in pods)


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_release_named_default_needs_explicit_service_account(chart: str) -> None:
    with pytest.raises(InvalidValuesError, match="name is 'default'"):
        render(least(chart), chart, release="default")
    rendered_objects = render(
        merged(least(chart), {"serviceAccount": {"create": False}}), chart, release="default"
    )
    assert not of_kind(rendered_objects, "ServiceAccount")
    assert {pod["serviceAccountName"] for pod in pod_specs(rendered_objects).values()} == {"default"}


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_default_user_is_that_of_the_image_or_of_openshift(chart: str) -> None:
    """OpenShift rejects any other user, and null in a parent chart erases no default of a subchart."""
    for pod in pod_specs(render(least(chart), chart)).values():
        for context in [pod["securityContext"], *(it["securityContext"] for it in containers(pod))]:
            assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_null_in_the_security_context_is_left_out(chart: str) -> None:
    values = merged(least(chart), {"podSecurityContext": {"runAsUser": None}})
    assert render(values, chart) == render(least(chart), chart)


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_cpu_limit_can_be_left_out(chart: str) -> None:
    none = {"limits": {"cpu": ""}}
    resources = {"master": none, "worker": none} if chart == "tidegate-loadtest" else none
    for pod in pod_specs(render(merged(least(chart), {"resources": resources}), chart)).values():
        for container in containers(pod):
            assert set(container["resources"]["limits"]) == {"memory"}


def test_image_user_is_a_number_other_than_root() -> None:
    """The kubelet verifies runAsNonRoot without a user in the pod only if the image's user is a number."""
    users = re.findall(r"^USER (.+)$", (HELM.parent / "images" / "Dockerfile").read_text(), re.MULTILINE)
    assert users == ["10001:10001"]


REPLACED_NAMES = [
    ("tidegate", "server.requestTimeoutSeconds", 15),
    ("tidegate", "server.startupSeconds", 180),
    ("tidegate", "server.trust", []),
    ("tidegate", "server.allowJoblib", []),
    ("tidegate", "networkPolicy.identity", "gcp"),
    ("tidegate", "alerts.drift", 0.25),
    ("tidegate", "alerts.shedRatio", 0.01),
    ("tidegate-training", "retries", 3),
    ("tidegate-training", "deadlineSeconds", 60),
    ("tidegate-training", "ttlSeconds", 60),
    ("tidegate-training", "dataClaim", "training-data"),
    ("tidegate-training", "queue", "training"),
    ("tidegate-training", "joblib", True),
    ("tidegate-loadtest", "ttlSeconds", 60),
]


@pytest.mark.parametrize(("chart", "name", "value"), REPLACED_NAMES)
def test_render_replaced_value_name_is_rejected(chart: str, name: str, value: Any) -> None:
    key = name.rpartition(".")[2]
    with pytest.raises(InvalidValuesError, match=f"additional properties '{key}' not allowed"):
        render(merged(least(chart), at_path(name, value)), chart)


@pytest.mark.parametrize("chart", ["tidegate-training", "tidegate-loadtest"])
def test_reworded_template_comment_keeps_every_name(tmp_path, chart: str) -> None:
    folder = Path(load(chart).save_dir(tmp_path))
    template = folder / "templates" / "_job.tpl"
    text = template.read_text()
    assert "\n    containers:\n" in text
    template.write_text(text.replace("\n    containers:\n", "\n    # Another comment.\n    containers:\n"))

    def names(rendered: str) -> set[tuple[str, str]]:
        return {(item["kind"], item["metadata"]["name"]) for item in render(least(chart), rendered)}

    assert names(str(folder)) == names(chart)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Render a chart with Helm's library, without a cluster: values in, Kubernetes objects out.

Every object is validated against its published schema, so every test of a chart also tests the schemas. An
object of Kubernetes is validated against the schemas of every supported version. Assertions about objects
belong to the tests.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import yaml
from referencing import Registry, Resource

ROOT = Path(__file__).parents[2]
HELM = ROOT / "helm"
SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
OLDEST_KUBERNETES = 30
"""The oldest supported version, 1.30; docs/install.md names it."""
NEWER_FIELDS = {'"image": {"pullPolicy"': 33, '"tolerance"': 33}
"""Fields that only a value sets, with the first version that has them."""

Object = dict[str, Any]
Values = dict[str, Any]


class InvalidValuesError(Exception):
    """The chart rejects these values; the message is Helm's output."""


@cache
def load(chart: str) -> helm_python.Chart:
    """Load a chart of this repository."""
    return helm_python.Chart.load(HELM / chart)


def manifests(
    values: Values, chart: str = "tidegate", release: str = "demo", namespace: str = "models"
) -> dict[str, str]:
    """Render each template; return the texts by path in the chart.

    Raises:
        InvalidValuesError: If the schema or a template rejects the values.
    """
    return dict(_manifests(json.dumps(values), chart, release, namespace))


# Many tests render the same values.
@cache
def _manifests(values: str, chart: str, release: str, namespace: str) -> dict[str, str]:
    loaded, fields = load(chart), json.loads(values)
    try:
        loaded.validate_schema(fields)
        rendered = loaded.render(fields, name=release, namespace=namespace)
    except (helm_python.HelmValuesError, helm_python.HelmRenderError) as error:
        raise InvalidValuesError(str(error)) from None
    prefix = f"{chart}/templates/"
    return {path.removeprefix(prefix): text for path, text in rendered.items()}


def render(
    values: Values, chart: str = "tidegate", release: str = "demo", namespace: str = "models"
) -> list[Object]:
    """Render the objects of ``helm install`` and validate each.

    Raises:
        InvalidValuesError: If the schema or a template rejects the values.
        jsonschema.ValidationError: If an object is invalid for Kubernetes or its custom resource definition.
    """
    return validated_objects(manifests(values, chart, release, namespace))


def validated_objects(texts: Mapping[str, str]) -> list[Object]:
    """Return the objects in rendered texts by path, each validated."""
    return [
        validated(document)
        for path, text in texts.items()
        if path.endswith(".yaml")
        for document in yaml.load_all(text, Loader=yaml.CSafeLoader)
        if document
    ]


def notes(values: Values, chart: str = "tidegate", release: str = "demo", namespace: str = "models") -> str:
    """Render the text that Helm prints after an installation."""
    return manifests(values, chart, release, namespace)["NOTES.txt"]


def validated(document: Object) -> Object:
    """Validate an object by the vendored schemas or by those of Kubernetes, and return it."""
    text = json.dumps(document, sort_keys=True)
    if text not in _valid:
        _validate(document)
        _valid.add(text)
    return document


# Most tests render the same objects, and validation is slow.
_valid: set[str] = set()


def _validate(document: Object) -> None:
    kind = document["kind"].lower()
    custom = SCHEMAS / f"{kind}.json"
    if custom.is_file():
        _validator(custom).validate(document)
        return
    text = json.dumps(document, sort_keys=True)
    oldest = max([OLDEST_KUBERNETES, *(version for field, version in NEWER_FIELDS.items() if field in text)])
    group, _, version = document["apiVersion"].rpartition("/")
    name = "-".join(filter(None, [kind, group.partition(".")[0], version]))
    for folder in kubernetes_schemas(oldest):
        _validator(folder / f"{name}.json").validate(document)


@cache
def kubernetes_schemas(oldest: int) -> list[Path]:
    """Return the folders of Kubernetes' strict schemas, from version 1.<oldest> to the newest."""
    folders = KUBERNETES_SCHEMAS.glob("v1.*-local-strict")
    return [folder for folder in folders if int(folder.name.split(".")[1]) >= oldest]


@cache
def _validator(path: Path) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(path.read_text()), registry=_definitions(path.parent))


@cache
def _definitions(folder: Path) -> Registry[Any]:
    """Return the definitions that the schemas of one version of Kubernetes share; the others have none."""
    path = folder / "_definitions.json"
    return Resource.from_contents(json.loads(path.read_text())) @ Registry() if path.is_file() else Registry()


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Return the objects of one kind by name."""
    return {item["metadata"]["name"]: item for item in objects if item["kind"] == kind}


def pod_specs(objects: list[Object]) -> dict[str, Object]:
    """Return every pod specification in the objects, by kind and name."""
    specs = {}
    for item in objects:
        spec = item.get("spec", {})
        match item["kind"]:
            case "InferenceService":
                pod = spec["predictor"]
            case "Pod":
                pod = spec
            case "Job" | "Deployment" | "StatefulSet":
                pod = spec["template"]["spec"]
            case "CronJob":
                pod = spec["jobTemplate"]["spec"]["template"]["spec"]
            case _:
                continue
        specs[f"{item['kind']}/{item['metadata']['name']}"] = pod
    return specs


def pod_checksums(objects: list[Object]) -> dict[str, str]:
    """Return the checksum of the pods of each InferenceService, by its name; a change restarts them."""
    return {
        name: isvc["spec"]["predictor"]["annotations"]["checksum/pods"]
        for name, isvc in of_kind(objects, "InferenceService").items()
    }


def replica_labels(objects: list[Object]) -> dict[str, dict[str, str]]:
    """Return the labels that KServe gives to the pods and the Service of each InferenceService, by its name.

    Argo CD has overwritten the label with the release's name.
    """
    return {
        name: isvc["metadata"]["labels"]
        | {"app.kubernetes.io/instance": "argo", "serving.kserve.io/inferenceservice": name}
        for name, isvc in of_kind(objects, "InferenceService").items()
    }


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Return whether a label selector selects an object with these labels."""
    assert selector, "an empty selector selects everything"
    expressions = selector.get("matchExpressions", [])
    assert {expression["operator"] for expression in expressions} <= {"In"}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )


def containers(pod: Object) -> list[Object]:
    """Return all containers of a pod, init containers first."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def environment(container: Object) -> dict[str, str]:
    """Return the values of a container's environment variables by name."""
    return {entry["name"]: entry["value"] for entry in container.get("env", [])}

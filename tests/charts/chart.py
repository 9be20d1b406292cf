# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rendering a chart with Helm's own library, without a cluster: values in, Kubernetes objects out.

Every object is validated against its published schema on the way, so every test of a chart is a test of
schemas too. It does not look into objects: that is the tests' part.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[2]
HELM = ROOT / "helm"
SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.35"

Object = dict[str, Any]
Values = dict[str, Any]


class RefusedError(Exception):
    """The chart refuses these values; the text is what Helm prints."""


@cache
def load(chart: str) -> helm_python.Chart:
    """A chart of this repository."""
    return helm_python.Chart.load(HELM / chart)


def manifests(
    values: Values, chart: str = "tidegate", release: str = "demo", namespace: str = "models"
) -> dict[str, str]:
    """The rendered text of each template, by its path in the chart.

    Raises:
        RefusedError: The schema or a template refuses the values.
    """
    loaded = load(chart)
    try:
        loaded.validate_schema(values)
        rendered = loaded.render(values, name=release, namespace=namespace)
    except (helm_python.HelmValuesError, helm_python.HelmRenderError) as error:
        raise RefusedError(str(error)) from None
    prefix = f"{chart}/templates/"
    return {path.removeprefix(prefix): text for path, text in rendered.items()}


def render(
    values: Values, chart: str = "tidegate", release: str = "demo", namespace: str = "models"
) -> list[Object]:
    """The objects that ``helm install`` would create, each valid by its schema.

    Raises:
        RefusedError: The schema or a template refuses the values.
        jsonschema.ValidationError: An object is not what Kubernetes or its custom resource definition wants.
    """
    texts = manifests(values, chart, release, namespace)
    return [
        validated(document)
        for path, text in texts.items()
        if path.endswith(".yaml")
        for document in yaml.load_all(text, Loader=yaml.CSafeLoader)
        if document
    ]


def notes(values: Values, chart: str = "tidegate", release: str = "demo", namespace: str = "models") -> str:
    """What Helm prints after an installation."""
    return manifests(values, chart, release, namespace)["NOTES.txt"]


def validated(document: Object) -> Object:
    """The object itself, if it is valid: by the vendored schemas, or by Kubernetes' own."""
    text = json.dumps(document, sort_keys=True)
    if text not in _valid:
        _validate(document)
        _valid.add(text)
    return document


# Most tests render the same objects besides the one that they are about; validating takes the time.
_valid: set[str] = set()


def _validate(document: Object) -> None:
    custom = SCHEMAS / f"{document['kind'].lower()}.json"
    if custom.is_file():
        _validator(custom).validate(document)
    else:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


@cache
def _validator(path: Path) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(path.read_text()))


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """The objects of one kind by their names."""
    return {item["metadata"]["name"]: item for item in objects if item["kind"] == kind}


def pod_specs(objects: list[Object]) -> dict[str, Object]:
    """Every pod specification that the objects lead to, by kind and name."""
    found = {}
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
        found[f"{item['kind']}/{item['metadata']['name']}"] = pod
    return found


def containers(pod: Object) -> list[Object]:
    """All containers of a pod, those of initialization first."""
    return [*pod.get("initContainers", []), *pod["containers"]]

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Write ``schemas/*.json`` from the custom resource definitions that the charts use.

Usage: ``python -m tests.charts.vendor``. It needs Go and the network; the tests need neither. Descriptions
and the fields that no chart sets are removed. An unknown field is an error here, because a cluster would drop
it without an error.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

SCHEMAS = Path(__file__).parent / "schemas"
_KSERVE = "github.com/kserve/kserve@v0.20.0"
_ENVOY_GATEWAY = "github.com/envoyproxy/gateway@v1.9.1"
_GATEWAY_API = "sigs.k8s.io/gateway-api@v1.6.1"
_KEDA = "github.com/kedacore/keda/v2@v2.18.0"
_PROMETHEUS = "github.com/prometheus-operator/prometheus-operator@v0.89.0"

SOURCES = {
    "inferenceservice": (_KSERVE, "config/crd/full/serving.kserve.io_inferenceservices.yaml"),
    "clusterservingruntime": (_KSERVE, "config/crd/full/serving.kserve.io_clusterservingruntimes.yaml"),
    "clusterstoragecontainer": (_KSERVE, "config/crd/full/clusterstoragecontainer/*storagecontainers.yaml"),
    "httproute": (_GATEWAY_API, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    "backendtlspolicy": (
        _GATEWAY_API,
        "config/crd/standard/gateway.networking.k8s.io_backendtlspolicies.yaml",
    ),
    "backendtrafficpolicy": (
        _ENVOY_GATEWAY,
        "charts/gateway-crds-helm/templates/generated/gateway.envoyproxy.io_backendtrafficpolicies.yaml",
    ),
    "scaledobject": (_KEDA, "config/crd/bases/keda.sh_scaledobjects.yaml"),
    "servicemonitor": (_PROMETHEUS, "example/prometheus-operator-crd/*_servicemonitors.yaml"),
    "prometheusrule": (_PROMETHEUS, "example/prometheus-operator-crd/*_prometheusrules.yaml"),
}
_PROSE = {"description", "default", "example", "format", "nullable"}
# Fields that the charts must not set. They are most of the definitions' size.
_FORBIDDEN = {
    "admissionControl", "batcher", "canary", "ephemeralContainers", "explainer", "faultInjection",
    "huggingface", "lightgbm", "loadBalancer", "logger", "onnx", "paddle", "pmml", "pytorch", "rateLimit",
    "responseOverride", "sklearn", "status", "tensorflow", "transformer", "triton", "workerSpec", "xgboost",
}  # fmt: skip
# The charts pass these objects of the user on unchanged.
_OPAQUE = {"affinity", "lifecycle"}


def closed(schema: Any) -> Any:
    """Convert an OpenAPI schema to a strict JSON schema, without patterns in Go's syntax."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {
        key: {
            name: {} if name in _OPAQUE else closed(part)
            for name, part in value.items()
            if name not in _FORBIDDEN
        }
        if key == "properties"
        else closed(value)
        for key, value in schema.items()
        if key not in _PROSE
        and not key.startswith("x-kubernetes-")
        and not (key == "pattern" and "(?i)" in value)
    }
    if (
        result.get("properties")
        and "type" in result
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        result.setdefault("additionalProperties", False)
    return result


def main() -> None:
    """Write every schema."""
    for kind, (module, pattern) in SOURCES.items():
        done = subprocess.run(
            ["go", "mod", "download", "-json", module], check=True, capture_output=True, cwd=SCHEMAS
        )
        [path] = Path(json.loads(done.stdout)["Dir"]).glob(pattern)
        # Envoy Gateway's definitions are templates, with every directive on a line of its own.
        lines = [line for line in path.read_text().splitlines() if not line.startswith("{{")]
        definition = yaml.load("\n".join(lines), Loader=yaml.CSafeLoader)
        [version] = [version for version in definition["spec"]["versions"] if version["storage"]]
        schema = closed(version["schema"]["openAPIV3Schema"])
        schema["properties"].update(
            apiVersion={"const": f"{definition['spec']['group']}/{version['name']}"},
            kind={"const": definition["spec"]["names"]["kind"]},
            metadata={"type": "object"},
        )
        (SCHEMAS / f"{kind}.json").write_text(
            json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n"
        )


if __name__ == "__main__":
    main()

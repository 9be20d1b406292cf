# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tools.cluster import addons


def test_fill_placeholder_without_value_raises() -> None:
    with pytest.raises(KeyError, match="COREDNS_IMAGE"):
        addons.fill("coredns.yaml", {"DNS_ADDRESS": "10.96.0.10"})


@pytest.mark.parametrize("path", sorted(addons.MANIFESTS.glob("*.yaml")), ids=lambda path: path.name)
def test_fill_every_manifest_is_valid_yaml(path: Path) -> None:
    values = dict.fromkeys(
        [
            *("COREDNS_IMAGE", "DNS_ADDRESS", "ENVOY_IMAGE", "ENVOY_GATEWAY_IMAGE"),
            *("METRICS_SERVER_REPOSITORY", "METRICS_SERVER_TAG"),
        ],
        "value",
    )
    assert all(yaml.safe_load_all(addons.fill(path.name, values)))


def probes(text: str) -> dict[str, dict[str, int]]:
    """Return each probe of a manifest or of a chart's values, by its path."""

    def walk(node: object, path: str) -> Iterator[tuple[str, dict[str, int]]]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("livenessProbe", "readinessProbe"):
                    yield f"{path}/{key}", value
                else:
                    yield from walk(value, f"{path}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                yield from walk(value, f"{path}/{index}")

    return dict(entry for document in yaml.safe_load_all(text) for entry in walk(document, ""))


@pytest.mark.parametrize(
    "file", ["coredns.yaml", "gateway.yaml", "metrics-server-values.yaml", "envoy-gateway-values.yaml"]
)
def test_probes_tolerate_a_machine_that_stalls_20_seconds(file: str) -> None:
    by_path = probes((addons.MANIFESTS / file).read_text())
    assert by_path
    for path, probe in by_path.items():
        # Kubernetes' defaults: a period of ten seconds, a timeout of one second, three failures.
        tolerated_seconds = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        assert tolerated_seconds >= 20, path
        assert probe.get("timeoutSeconds", 1) >= 5, path

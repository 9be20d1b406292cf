# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicies of the charts, enforced: connections between pods are counted without them and with them.

A campaign and a training run are represented by idle pods with their labels, because only a pod's labels
decide which policy selects it.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.idle_pod import idle_pod, wait_until_ready
from tests.e2e.kube import Namespace, Object
from tests.e2e.model import Model
from tests.e2e.release import Release
from tests.e2e.target import Target

CHARTS = Path("helm")
ATTEMPTS = 3
PORTS = {"rest": 8080, "grpc": 8081, "metrics": 9090}
LOCUST_PORT = 5557
GATEWAY_NAMESPACE = "envoy-gateway-system"
"""The namespace of Envoy Gateway's proxies."""
LISTEN = (
    f"import http.server as s; s.HTTPServer(('', {LOCUST_PORT}), s.BaseHTTPRequestHandler).serve_forever()"
)
CONNECT = f"""
import json, socket, sys

def connects(host, port):
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True

def count(address):
    return sum(connects(*address) for _ in range({ATTEMPTS}))

print(json.dumps({{name: count(address) for name, address in json.loads(sys.argv[1]).items()}}))
"""
"""Connects several times to each target, and prints the number of connections."""
STATUS = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Host": sys.argv[2]})
print(urllib.request.urlopen(request, timeout=10).status)
"""

Matrix = Mapping[str, Mapping[str, int]]
"""By client and target, a number of connections."""

EXPECTED: Matrix = {
    "client": {"rest": ATTEMPTS, "grpc": ATTEMPTS, "metrics": 0},
    "prometheus": {"rest": 0, "grpc": 0, "metrics": ATTEMPTS},
    "neighbour": {"rest": 0, "grpc": 0, "metrics": 0, "master": 0, "training": 0},
    "master": {"store": ATTEMPTS, "neighbour": 0},
    "worker": {"store": 0, "master": ATTEMPTS, "neighbour": 0},
    "training": {"store": ATTEMPTS, "neighbour": 0},
    "server": {"store": ATTEMPTS, "neighbour": 0},
}
"""The connections that the policies allow."""


def policies_of(chart: str, values: Mapping[str, Any], namespace: Namespace) -> list[Object]:
    """Return the NetworkPolicies of a chart.

    Args:
        chart: The chart.
        values: Its values.
        namespace: The namespace of the release.
    """
    command = [
        "template",
        chart,
        str(CHARTS / chart),
        "--show-only=templates/networkpolicy.yaml",
        "--values=-",
    ]
    return list(yaml.safe_load_all(namespace.helm(*command, stdin=yaml.safe_dump(dict(values)))))


def chart_values(chart: str, target: Target) -> dict[str, Any]:
    """Return the values of a chart's example, with a policy and the store under test."""
    values: dict[str, Any] = yaml.safe_load((CHARTS / chart / "ci" / "minimal-values.yaml").read_text())
    store = values.get("objectStore", {}) | {"endpoint": target.s3_from_pods}
    return values | {"objectStore": store, "networkPolicy": {"enabled": True}}


def idle(name: str, labels: Mapping[str, str], target: Target) -> Object:
    """Return a pod with labels that listens on the port of Locust's master.

    Args:
        name: The pod's name.
        labels: Its labels.
        target: The cluster under test.
    """
    requests = {"cpu": "10m", "memory": "32Mi"}
    pod = idle_pod(name, target.images["serving"], requests=requests, environment={}, volumes={})
    pod["metadata"]["labels"] = dict(labels)
    pod["spec"]["containers"][0]["command"] = ["python", "-c", LISTEN]
    return pod


def dns_egress() -> list[dict[str, Any]]:
    """Return rules for the ports of the DNS pods, which are others than 53 in some clusters."""
    slices = Namespace("kube-system").get("endpointslices", "--selector=kubernetes.io/service-name=kube-dns")
    ports = [
        {"protocol": port["protocol"], "port": port["port"]}
        for item in slices["items"]
        for port in item["ports"]
        if port["name"].startswith("dns")
    ]
    assert ports, "the Service kube-system/kube-dns has no endpoints"
    name = {"kubernetes.io/metadata.name": "kube-system"}
    return [{"to": [{"namespaceSelector": {"matchLabels": name}}], "ports": ports}]


def test_network_policies(
    release: Release, namespace: Namespace, target: Target, gateway: str, v1: Model, evidence: dict[str, Any]
) -> None:
    policies = [
        policy
        for chart in ("tidegate-loadtest", "tidegate-training")
        for policy in policies_of(chart, chart_values(chart, target), namespace)
    ]
    master, worker, training = (policy["spec"]["podSelector"]["matchLabels"] for policy in policies)
    labels = {
        "client": {"role": "client"},
        "prometheus": {"role": "prometheus"},
        "neighbour": {"role": "neighbour"},
        "master": master,
        "worker": worker,
        "training": training,
    }
    namespace.apply(*(idle(name, own, target) for name, own in labels.items()))
    release.install(
        v1, {"autoscaling": {"minReplicas": 1, "maxReplicas": 1}, "server": {"metricsPort": 9090}}
    )
    for name in labels:
        wait_until_ready(namespace, name)
    [server] = release.ready_pods()
    store = re.search(r"//([^/:]+):(\d+)", target.s3_from_pods)
    assert store is not None, f"expected a host and a port, received {target.s3_from_pods}"
    addresses: dict[str, tuple[str, int]] = {"store": (store[1], int(store[2]))}
    addresses |= {name: (server["status"]["podIP"], port) for name, port in PORTS.items()}
    addresses |= {name: (namespace.get(f"pod/{name}")["status"]["podIP"], LOCUST_PORT) for name in labels}

    def measure() -> Matrix:
        return {name: connections(name, list(targets)) for name, targets in EXPECTED.items()}

    def connections(name: str, targets: list[str]) -> dict[str, int]:
        pod, container = (
            (server["metadata"]["name"], "kserve-container") if name == "server" else (name, None)
        )
        plan = json.dumps({one: addresses[one] for one in targets})
        output = namespace.execute(pod, "python", "-c", CONNECT, plan, container=container)
        counts: dict[str, int] = json.loads(output)
        return counts

    evidence["attempts"] = ATTEMPTS
    evidence["without policies"] = measure()
    assert all(set(counts.values()) == {ATTEMPTS} for counts in evidence["without policies"].values())

    namespace.apply(*policies)
    clients = {"podSelector": {"matchLabels": labels["client"]}}
    prometheus = {"podSelector": {"matchLabels": labels["prometheus"]}}
    release.upgrade(
        {
            "networkPolicy.enabled": True,
            "networkPolicy.allowSameNamespace": False,
            "networkPolicy.allowFrom": [clients],
            "networkPolicy.allowNamespaces": [GATEWAY_NAMESPACE],
            "networkPolicy.metricsFrom": [prometheus],
            "networkPolicy.egress": dns_egress(),
        }
    )

    def difference() -> str | None:
        evidence["with policies"] = measure()
        return None if evidence["with policies"] == EXPECTED else f"received {evidence['with policies']}"

    namespace.wait("the connections that the policies allow", difference, timeout=90, interval=2)
    ready = f"http://{gateway}/v2/models/{v1.name}/ready"
    evidence["through_gateway"] = int(
        namespace.execute("client", "python", "-c", STATUS, ready, release.hostname)
    )
    assert evidence["through_gateway"] == 200
    # The pod of the test pulls the bundle under its own policy, and a new replica under the release's.
    namespace.helm("test", release.name, "--timeout=2m")
    release.upgrade({"autoscaling.minReplicas": 2, "autoscaling.maxReplicas": 2})
    assert len(release.ready_pods()) == 2

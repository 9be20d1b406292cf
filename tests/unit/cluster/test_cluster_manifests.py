# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""KServe's manifest is cut down to what is wanted, and the cluster's own manifests are whole."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tools.cluster import addons, kserve

MANIFEST = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: inferenceservices.serving.kserve.io
spec: {}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: llminferenceservices.serving.kserve.io
spec: {}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  labels:
    name: other
  name: kserve-controller-manager
  namespace: kserve
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: inferenceservice-config
  namespace: kserve
data:
  deploy: '{"defaultDeploymentMode": "Serverless"}'
  ingress: '{"enableGatewayApi": false, "ingressDomain": "example.com"}'
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: kserve-controller-manager
  namespace: kserve
spec:
  template:
    spec:
      containers:
        - name: manager
          image: published
          args: [--metrics-addr=127.0.0.1:8080, --leader-elect]
          readinessProbe: {initialDelaySeconds: 30, httpGet: {path: /readyz, port: 8081}}
          resources: {limits: {cpu: 100m}}
        - name: kube-rbac-proxy
          image: published
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: kserve-localmodel-controller-manager
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata:
  name: selfsigned-issuer
---
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterStorageContainer
metadata:
  name: default
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: inferenceservice.serving.kserve.io
webhooks:
  - name: one
    clientConfig: {service: {name: kserve-webhook-server-service}}
"""


def prepared() -> kserve.Manifests:
    return kserve.prepare(MANIFEST, image="tidegate.test/kserve-controller:v1", authority=b"PEM")


def by_kind(text: str) -> dict[str, dict[str, Any]]:
    return {document["kind"]: document for document in yaml.safe_load_all(text) if document}


def test_only_predictive_kinds_are_defined() -> None:
    assert prepared().kinds == ("inferenceservices.serving.kserve.io",)
    assert "llm" not in prepared().definitions


def test_objects_of_own_kinds_come_last() -> None:
    assert set(by_kind(prepared().defaults)) == {"ClusterStorageContainer"}


def test_what_needs_cert_manager_or_caches_models_is_dropped() -> None:
    kinds = by_kind(prepared().controller)
    assert set(kinds) == {"ServiceAccount", "ConfigMap", "Deployment", "ValidatingWebhookConfiguration"}
    assert "localmodel" not in prepared().controller


def test_standard_mode_and_the_gateway_are_configured() -> None:
    data = by_kind(prepared().controller)["ConfigMap"]["data"]
    assert json.loads(data["deploy"]) == {"defaultDeploymentMode": "Standard"}
    assert json.loads(data["ingress"]) == {
        "enableGatewayApi": True,
        "ingressDomain": "example.com",
        "kserveIngressGateway": "tidegate-gateway/tidegate",
        "disableIstioVirtualHost": True,
    }


def test_the_controller_runs_alone_from_the_local_image() -> None:
    pod = by_kind(prepared().controller)["Deployment"]["spec"]["template"]["spec"]
    [manager] = pod["containers"]
    assert manager["image"] == "tidegate.test/kserve-controller:v1"
    assert manager["imagePullPolicy"] == "Never"
    assert manager["args"] == ["--metrics-addr=127.0.0.1:8080"]
    assert "cpu" not in manager["resources"]["limits"]


def test_webhooks_trust_the_clusters_authority() -> None:
    [webhook] = by_kind(prepared().controller)["ValidatingWebhookConfiguration"]["webhooks"]
    assert base64.b64decode(webhook["clientConfig"]["caBundle"]) == b"PEM"


def test_the_webhook_secret_holds_certificate_and_key() -> None:
    secret = yaml.safe_load(kserve.webhook_secret(b"certificate", b"key"))
    assert secret["metadata"] == {"name": "kserve-webhook-server-cert", "namespace": "kserve"}
    assert base64.b64decode(secret["data"]["tls.key"]) == b"key"


def test_a_manifest_with_an_unfilled_name_is_refused() -> None:
    with pytest.raises(KeyError, match="COREDNS_IMAGE"):
        addons.fill("coredns.yaml", {"DNS_ADDRESS": "10.96.0.10"})


@pytest.mark.parametrize("path", sorted(addons.MANIFESTS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_manifest_is_yaml_once_filled(path: Any) -> None:
    values = dict.fromkeys(
        [
            *("COREDNS_IMAGE", "DNS_ADDRESS", "ENVOY_IMAGE", "ENVOY_GATEWAY_IMAGE"),
            *("METRICS_SERVER_REPOSITORY", "METRICS_SERVER_TAG"),
        ],
        "value",
    )
    assert all(yaml.safe_load_all(addons.fill(path.name, values)))


def probes(text: str) -> dict[str, dict[str, int]]:
    """Every probe of a manifest or of values for a chart, by the path to it."""

    def walk(thing: object, path: str) -> Iterator[tuple[str, dict[str, int]]]:
        if isinstance(thing, dict):
            for key, value in thing.items():
                if key in ("livenessProbe", "readinessProbe"):
                    yield f"{path}/{key}", value
                else:
                    yield from walk(value, f"{path}/{key}")
        elif isinstance(thing, list):
            for index, value in enumerate(thing):
                yield from walk(value, f"{path}/{index}")

    return dict(entry for document in yaml.safe_load_all(text) for entry in walk(document, ""))


@pytest.mark.parametrize(
    "file", ["coredns.yaml", "gateway.yaml", "metrics-server-values.yaml", "envoy-gateway-values.yaml"]
)
def test_a_machine_that_stands_still_for_twenty_seconds_takes_no_part_of_the_cluster_out(file: str) -> None:
    found = probes((addons.MANIFESTS / file).read_text())
    assert found
    for path, probe in found.items():
        # Kubernetes' defaults: a period of ten seconds, a time-out of one, three failures.
        patience = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        assert patience >= 20, path
        assert probe.get("timeoutSeconds", 1) >= 5, path

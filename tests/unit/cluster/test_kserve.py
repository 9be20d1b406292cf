# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import base64
import json
from typing import Any

import yaml

from tools.cluster import kserve

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


def test_prepare_keeps_only_predictive_kinds() -> None:
    assert prepared().kinds == ("inferenceservices.serving.kserve.io",)
    assert "llm" not in prepared().definitions


def test_prepare_puts_objects_of_kserves_kinds_last() -> None:
    assert set(by_kind(prepared().defaults)) == {"ClusterStorageContainer"}


def test_prepare_drops_cert_manager_and_model_caches() -> None:
    kinds = by_kind(prepared().controller)
    assert set(kinds) == {"ServiceAccount", "ConfigMap", "Deployment", "ValidatingWebhookConfiguration"}
    assert "localmodel" not in prepared().controller


def test_prepare_configures_standard_mode_and_the_gateway() -> None:
    data = by_kind(prepared().controller)["ConfigMap"]["data"]
    assert json.loads(data["deploy"]) == {"defaultDeploymentMode": "Standard"}
    assert json.loads(data["ingress"]) == {
        "enableGatewayApi": True,
        "ingressDomain": "example.com",
        "kserveIngressGateway": "tidegate-gateway/tidegate",
        "disableIstioVirtualHost": True,
    }


def test_prepare_keeps_only_the_manager_container() -> None:
    pod = by_kind(prepared().controller)["Deployment"]["spec"]["template"]["spec"]
    [manager] = pod["containers"]
    assert manager["image"] == "tidegate.test/kserve-controller:v1"
    assert manager["imagePullPolicy"] == "Never"
    assert manager["args"] == ["--metrics-addr=127.0.0.1:8080"]
    assert "cpu" not in manager["resources"]["limits"]


def test_prepare_webhooks_trust_the_clusters_authority() -> None:
    [webhook] = by_kind(prepared().controller)["ValidatingWebhookConfiguration"]["webhooks"]
    assert base64.b64decode(webhook["clientConfig"]["caBundle"]) == b"PEM"


def test_webhook_secret_holds_certificate_and_key() -> None:
    secret = yaml.safe_load(kserve.webhook_secret(b"certificate", b"key"))
    assert secret["metadata"] == {"name": "kserve-webhook-server-cert", "namespace": "kserve"}
    assert base64.b64decode(secret["data"]["tls.key"]) == b"key"

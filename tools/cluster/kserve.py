# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""KServe's published manifest, cut down to what serves models in Standard mode.

Everything about language models and node-local model caches goes, and so do cert-manager's objects and the
metrics proxy; what stays keeps upstream's text. Pure: text in, text out. Documents are told apart by their
first lines and only those that change are parsed, because the manifest has 140,000 lines.
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

import yaml

GATEWAY = "tidegate-gateway/tidegate"
WEBHOOK_SECRET = "kserve-webhook-server-cert"
_DROPPED_KINDS = {"Certificate", "Issuer"}
_DROPPED_NAMES = ("llmisvc", "llminference", "localmodel", "llm-d", "inferencepool")
_CONFIG = "inferenceservice-config"


@dataclass(frozen=True)
class Manifests:
    """What to apply, in this order; the last part needs the first to be established.

    Args:
        kinds: names of the custom resource definitions.
        definitions: custom resource definitions.
        controller: the controller and its configuration.
        defaults: objects of KServe's own kinds.
    """

    kinds: tuple[str, ...]
    definitions: str
    controller: str
    defaults: str


def identify(document: str) -> tuple[str, str] | None:
    r"""Read the kind and name of a manifest document without parsing it.

    >>> identify("kind: Service\nmetadata:\n  labels:\n    a: b\n  name: web\nspec: {}\n")
    ('Service', 'web')
    """
    kind = re.search(r"^kind: (\S+)", document, re.MULTILINE)
    name = re.search(r"^metadata:\n(?:[ ]+.*\n)*?  name: (\S+)", document, re.MULTILINE)
    return (kind[1], name[1]) if kind and name else None


def is_wanted(kind: str, name: str) -> bool:
    """Whether an object is needed for predictive models in Standard mode."""
    return kind not in _DROPPED_KINDS and not any(part in name for part in _DROPPED_NAMES)


def prepare(manifest: str, *, image: str, authority: bytes) -> Manifests:
    """Cut the manifest down and fit it to this cluster.

    Args:
        manifest: upstream's kserve.yaml.
        image: the controller's image.
        authority: the certificate authority that API servers shall trust for the webhooks, as PEM.
    """
    kinds = []
    definitions = []
    controller = []
    defaults = []
    for document in re.split(r"^---\n", manifest, flags=re.MULTILINE):
        identity = identify(document)
        if identity is None or not is_wanted(*identity):
            continue
        kind, name = identity
        if kind == "CustomResourceDefinition":
            kinds.append(name)
            definitions.append(document)
        elif kind == "ClusterStorageContainer":
            defaults.append(document)
        else:
            controller.append(_adapt(document, kind, image=image, authority=authority))
    return Manifests(tuple(kinds), *("---\n".join(part) for part in (definitions, controller, defaults)))


def _adapt(document: str, kind: str, *, image: str, authority: bytes) -> str:
    if kind not in {
        "ConfigMap",
        "Deployment",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    }:
        return document
    manifest: dict[str, Any] = yaml.load(document, Loader=yaml.CSafeLoader)
    if kind == "ConfigMap":
        configure(manifest)
    elif kind == "Deployment":
        slim(manifest, image)
    else:
        for webhook in manifest["webhooks"]:
            webhook["clientConfig"]["caBundle"] = base64.b64encode(authority).decode()
    return yaml.safe_dump(manifest)


def configure(config: dict[str, Any]) -> None:
    """Choose Standard mode and the Gateway API in KServe's configuration."""
    data = config["data"]
    deploy = json.loads(data["deploy"])
    deploy["defaultDeploymentMode"] = "Standard"
    data["deploy"] = json.dumps(deploy)
    ingress = json.loads(data["ingress"])
    ingress.update(enableGatewayApi=True, kserveIngressGateway=GATEWAY, disableIstioVirtualHost=True)
    data["ingress"] = json.dumps(ingress)


def slim(deployment: dict[str, Any], image: str) -> None:
    """Keep the manager alone, with our image, a small request, no CPU limit and quick probes."""
    pod = deployment["spec"]["template"]["spec"]
    [manager] = [container for container in pod["containers"] if container["name"] == "manager"]
    pod["containers"] = [manager]
    manager["image"] = image
    manager["imagePullPolicy"] = "Never"
    # A limit of 100m makes the controller itself the slowest part of a test.
    manager["resources"] = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    manager["readinessProbe"].update(initialDelaySeconds=1, periodSeconds=1)
    # Waiting for the lease of a controller that no longer lives would cost 15 s, and there is one replica.
    manager["args"] = [argument for argument in manager["args"] if argument != "--leader-elect"]


def webhook_secret(certificate: bytes, key: bytes) -> str:
    """Write the Secret with the webhook server's certificate."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": WEBHOOK_SECRET, "namespace": "kserve"},
            "type": "kubernetes.io/tls",
            "data": {
                "tls.crt": base64.b64encode(certificate).decode(),
                "tls.key": base64.b64encode(key).decode(),
            },
        }
    )

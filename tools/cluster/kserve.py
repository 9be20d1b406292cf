# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""KServe's published manifest, reduced to the objects that serve models in Standard mode.

Objects for language models, node-local model caches, cert-manager and the metrics proxy are dropped; the
others keep upstream's text. The functions are pure: text in, text out. A regular expression reads a
document's kind and name, and only documents that change are parsed, because parsing the whole manifest takes
minutes.
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
    """The manifests in the order in which to apply them; the defaults need the definitions established.

    Args:
        kinds: The names of the custom resource definitions.
        definitions: The custom resource definitions.
        controller: The controller and its configuration.
        defaults: Objects of KServe's own kinds.
    """

    kinds: tuple[str, ...]
    definitions: str
    controller: str
    defaults: str


def identify(document: str) -> tuple[str, str] | None:
    r"""Return the kind and the name of a manifest document without parsing it.

    >>> identify("kind: Service\nmetadata:\n  labels:\n    a: b\n  name: web\nspec: {}\n")
    ('Service', 'web')
    """
    kind = re.search(r"^kind: (\S+)", document, re.MULTILINE)
    name = re.search(r"^metadata:\n(?:[ ]+.*\n)*?  name: (\S+)", document, re.MULTILINE)
    return (kind[1], name[1]) if kind and name else None


def is_required(kind: str, name: str) -> bool:
    """Return whether predictive models in Standard mode need an object."""
    return kind not in _DROPPED_KINDS and not any(part in name for part in _DROPPED_NAMES)


def prepare(manifest: str, *, image: str, authority: bytes) -> Manifests:
    """Reduce the manifest and adapt it to this cluster.

    Args:
        manifest: Upstream's kserve.yaml.
        image: The controller's image.
        authority: The certificate authority that the API server trusts for the webhooks, as PEM.
    """
    kinds = []
    definitions = []
    controller = []
    defaults = []
    for document in re.split(r"^---\n", manifest, flags=re.MULTILINE):
        identity = identify(document)
        if identity is None or not is_required(*identity):
            continue
        kind, name = identity
        if kind == "CustomResourceDefinition":
            kinds.append(name)
            definitions.append(document)
        elif kind == "ClusterStorageContainer":
            defaults.append(document)
        else:
            controller.append(_adapt(document, kind, image=image, authority=authority))
    return Manifests(
        tuple(kinds), *("---\n".join(documents) for documents in (definitions, controller, defaults))
    )


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
        reduce_to_manager(manifest, image)
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


def reduce_to_manager(deployment: dict[str, Any], image: str) -> None:
    """Keep only the manager container, with this cluster's image, a small request and quick probes."""
    pod = deployment["spec"]["template"]["spec"]
    [manager] = [container for container in pod["containers"] if container["name"] == "manager"]
    pod["containers"] = [manager]
    manager["image"] = image
    manager["imagePullPolicy"] = "Never"
    # Upstream's CPU limit of 100m would make the controller the slowest component of a test.
    manager["resources"] = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    manager["readinessProbe"].update(initialDelaySeconds=1, periodSeconds=1)
    # A restarted controller would wait 15 s for the lease of its predecessor, and there is one replica.
    manager["args"] = [argument for argument in manager["args"] if argument != "--leader-elect"]


def webhook_secret(certificate: bytes, key: bytes) -> str:
    """Return the Secret with the webhook server's certificate, as YAML."""
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

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A release of `helm/tidegate`, handled as a platform engineer does: helm and `tidegate status --wait`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.kube import CommandError, Namespace, Object, is_ready, tidegate
from tests.e2e.model import Model
from tests.e2e.target import Target

CHART = Path("helm/tidegate")
SECRET = "object-store"


class Release:
    """One release in one namespace.

    Args:
        name: its name.
        namespace: where.
        target: the cluster under test.
        scratch: a folder for values files.
    """

    def __init__(self, name: str, namespace: Namespace, target: Target, scratch: Path) -> None:
        self.name = name
        self.namespace = namespace
        self._target = target
        self._scratch = scratch

    @property
    def hostname(self) -> str:
        """The host that its route answers to."""
        return f"{self.name}.{self.namespace.name}.test"

    @property
    def service(self) -> str:
        """Its Service's name in the cluster's DNS."""
        return f"{self.name}-predictor.{self.namespace.name}"

    def values(self, model: Model) -> dict[str, Any]:
        """Give the values that the scenarios have in common: small requests, two replicas, a route.

        As many replicas at most as at least, so that the autoscaler is there and does nothing.
        """
        repository, tag = self._target.image("serving")
        gateway_namespace, gateway = self._target.gateway
        return {
            "model": {"uri": model.uri, "digest": model.digest},
            "image": {"repository": repository, "tag": tag},
            "objectStore": {
                "secretName": SECRET,
                "endpoint": self._target.s3_from_pods,
                "region": self._target.region,
            },
            "resources": {
                "requests": {"cpu": "50m", "memory": "192Mi"},
                "limits": {"cpu": "1", "memory": "768Mi"},
            },
            "autoscaling": {"minReplicas": 2, "maxReplicas": 2},
            "route": {
                "enabled": True,
                "parentRefs": [{"name": gateway, "namespace": gateway_namespace}],
                "hostnames": [self.hostname],
            },
            "backendTrafficPolicy": {"enabled": True},
        }

    def install(self, model: Model, changes: Mapping[str, Any] | None = None, *, wait: bool = True) -> float:
        """Install it; returns the seconds until it served, as `tidegate status --wait` saw it."""
        file = self._scratch / f"{self.namespace.name}-{self.name}.yaml"
        file.write_text(yaml.safe_dump(merge(self.values(model), changes or {})))
        self.namespace.helm("install", self.name, str(CHART), f"--values={file}")
        return self.wait() if wait else 0.0

    def upgrade(self, changes: Mapping[str, Any], *, wait: bool = True) -> float:
        """Change values, keep all others; returns the seconds until it served what was asked."""
        sets = [f"--set-json={key}={json.dumps(value)}" for key, value in changes.items()]
        self.namespace.helm("upgrade", self.name, str(CHART), "--reset-then-reuse-values", *sets)
        return self.wait() if wait else 0.0

    def uninstall(self) -> None:
        """Remove it."""
        self.namespace.helm("uninstall", self.name)

    def wait(self, timeout: float = 180) -> float:
        """Run `tidegate status --wait`."""
        import time

        began = time.monotonic()
        try:
            self.status("--wait", f"--timeout={timeout:g}")
        except CommandError as error:
            raise AssertionError(f"{error}\n\n{self.namespace.explain()}") from None
        return round(time.monotonic() - began, 1)

    def status(self, *options: str) -> Any:
        """Run `tidegate status`."""
        return tidegate("status", self.name, f"--namespace={self.namespace.name}", *options)

    def recorded(self) -> Any:
        """Read the values that Helm keeps."""
        text = self.namespace.helm("get", "values", self.name, "--output=json")
        return json.loads(text)

    def pods(self, track: str = "stable") -> list[Object]:
        """List a track's pods."""
        service = self.name if track == "stable" else f"{self.name}-canary"
        return self.namespace.pods(f"serving.kserve.io/inferenceservice={service}")

    def ready_pods(self, track: str = "stable") -> list[Object]:
        """List a track's pods that are ready and stay."""
        return [pod for pod in self.pods(track) if is_ready(pod)]

    def autoscaler(self, track: str = "stable") -> Object:
        """Read a track's autoscaler."""
        name = self.name if track == "stable" else f"{self.name}-canary"
        return self.namespace.get(f"hpa/{name}-hpa")


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay maps over maps, as Helm does.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged

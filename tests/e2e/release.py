# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A release of `helm/tidegate`, operated with helm and `tidegate status --wait`."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.kube import CommandError, Namespace, Object, tidegate
from tests.e2e.model import Model
from tests.e2e.target import Target
from tidegate.kubernetes.pods import is_ready, unmet_condition
from tidegate_rollout.helm import merge

CHART = Path("helm/tidegate")
SECRET = "object-store"


class Release:
    """A release in a namespace.

    Args:
        name: The release's name.
        namespace: The namespace.
        target: The cluster under test.
        scratch: A folder for values files.
    """

    def __init__(self, name: str, namespace: Namespace, target: Target, scratch: Path) -> None:
        self.name = name
        self.namespace = namespace
        self._target = target
        self._scratch = scratch

    @property
    def hostname(self) -> str:
        """The hostname of its route."""
        return f"{self.name}.{self.namespace.name}.test"

    @property
    def service(self) -> str:
        """Its Service's name in the cluster's DNS."""
        return f"{self.name}-predictor.{self.namespace.name}"

    @property
    def watch(self) -> dict[str, str]:
        """The object whose timeline a campaign records: `target.watch`."""
        return {"namespace": self.namespace.name, "inference_service": self.name}

    def values(self, model: Model) -> dict[str, Any]:
        """Return the scenarios' common values: small resource requests, two replicas, a route.

        The autoscaler exists but never scales, because its minimum equals its maximum.
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
        """Install the release.

        Args:
            model: The model to serve.
            changes: Values that differ from :meth:`values`.
            wait: Whether to wait until it serves the model.

        Returns:
            The seconds until `tidegate status --wait` returned; 0 without waiting.
        """
        file = self._scratch / f"{self.namespace.name}-{self.name}.yaml"
        file.write_text(yaml.safe_dump(merge(self.values(model), changes or {})))
        self.namespace.helm("install", self.name, str(CHART), f"--values={file}")
        return self.wait() if wait else 0.0

    def upgrade(self, changes: Mapping[str, Any], *, wait: bool = True) -> float:
        """Change values and keep all others.

        Args:
            changes: The new values by dotted key.
            wait: Whether to wait until the change is served.

        Returns:
            The seconds until `tidegate status --wait` returned; 0 without waiting.
        """
        sets = [f"--set-json={key}={json.dumps(value)}" for key, value in changes.items()]
        self.namespace.helm("upgrade", self.name, str(CHART), "--reset-then-reuse-values", *sets)
        return self.wait() if wait else 0.0

    def uninstall(self) -> None:
        """Uninstall the release."""
        self.namespace.helm("uninstall", self.name)

    def wait(self, timeout: float = 180) -> float:
        """Run `tidegate status --wait`, and return its duration in seconds."""
        started = time.monotonic()
        try:
            self.status("--wait", f"--timeout={timeout:g}")
        except CommandError as error:
            raise AssertionError(f"{error}\n\n{self.namespace.explain()}") from None
        return round(time.monotonic() - started, 1)

    def status(self, *options: str) -> Any:
        """Run `tidegate status` and return its JSON output."""
        return tidegate("status", self.name, f"--namespace={self.namespace.name}", *options)

    def recorded_values(self) -> Any:
        """Return the values in Helm's record of the release."""
        text = self.namespace.helm("get", "values", self.name, "--output=json")
        return json.loads(text)

    def metadata(self) -> Any:
        """Return Helm's metadata of the newest revision, such as its status."""
        return json.loads(self.namespace.helm("get", "metadata", self.name, "--output=json"))

    def computed_values(self) -> Any:
        """Return all values of the release, including the chart's defaults."""
        return json.loads(self.namespace.helm("get", "values", self.name, "--all", "--output=json"))

    def pods(self, track: str = "stable") -> list[Object]:
        """Return a track's pods."""
        service = self.name if track == "stable" else f"{self.name}-canary"
        return self.namespace.pods(f"serving.kserve.io/inferenceservice={service}")

    def ready_pods(self, track: str = "stable") -> list[Object]:
        """Return a track's pods that are ready and not being deleted."""
        return [pod for pod in self.pods(track) if is_ready(pod)]

    def autoscaler(self, track: str = "stable") -> Object:
        """Return the only HorizontalPodAutoscaler of a track, which Helm or KEDA has created.

        Raises:
            AssertionError: If the track has none, or several.
        """
        found = self.autoscalers(track)
        assert len(found) == 1, f"expected one autoscaler, found {[it['metadata']['name'] for it in found]}"
        return found[0]

    def autoscalers(self, track: str = "stable") -> list[Object]:
        """Return all HorizontalPodAutoscalers of a track's Deployment."""
        deployment = f"{self.name}-predictor" if track == "stable" else f"{self.name}-canary-predictor"
        return [
            item
            for item in self.namespace.get("hpa")["items"]
            if item["spec"]["scaleTargetRef"]["name"] == deployment
        ]

    def inactive_reason(self) -> str | None:
        """Return why the autoscaler has no metric to scale by, or None if it has one."""
        found = self.autoscalers()
        return (
            unmet_condition(found[0], "ScalingActive")
            if len(found) == 1
            else f"{len(found)} autoscalers exist"
        )

    def wait_without_load(self) -> None:
        """Wait until the autoscaler has its first metric, desires one replica, and this one is alone.

        The start of a server looks like load. The slower the machine, the longer the scale-down takes.
        """
        self.namespace.wait("the autoscaler's first metric", self.inactive_reason, timeout=120)

        def busy_reason() -> str | None:
            desired = self.autoscaler()["status"]["desiredReplicas"]
            # Read first: one pod also exists before those that the autoscaler desires.
            return self.count_mismatch(1) if desired == 1 else f"the autoscaler desires {desired}"

        self.namespace.wait("one replica without load", busy_reason, timeout=240)

    def count_mismatch(self, expected: int) -> str | None:
        """Return the numbers of pods and ready pods, or None if both are the expected one."""
        pods = self.pods()
        ready = [pod for pod in pods if is_ready(pod)]
        return None if len(pods) == expected == len(ready) else f"{len(ready)} of {len(pods)} pods are ready"


@contextmanager
def create_namespace(name: str, target: Target) -> Iterator[Namespace]:
    """Create a namespace with the store's credentials in a Secret, and delete it when the block ends."""
    namespace = Namespace(f"e2e-{name}")
    namespace.create()
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET},
            "stringData": {
                "AWS_ACCESS_KEY_ID": target.access_key,
                "AWS_SECRET_ACCESS_KEY": target.secret_key,
                "AWS_REGION": target.region,
            },
        }
    )
    try:
        yield namespace
    finally:
        namespace.delete()

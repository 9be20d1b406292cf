# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""An idle pod next to a release, in which a scenario runs commands."""

from collections.abc import Mapping
from typing import Any

from tests.e2e.kube import SECURITY, Namespace
from tests.e2e.release import SECRET
from tidegate.kubernetes.pods import is_ready


def idle_pod(
    name: str,
    image: str,
    *,
    requests: Mapping[str, str],
    environment: Mapping[str, str],
    volumes: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the manifest of a pod that waits for its end and has the credentials of the model store.

    Args:
        name: The name of the pod and of its container.
        image: An image with Python.
        requests: The requested CPU and memory.
        environment: The environment variables.
        volumes: The volumes' sources by name, without ``tmp``. Volume ``x`` is mounted at ``/x``.
    """
    volumes = {**volumes, "tmp": {"emptyDir": {}}}
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", "import signal; signal.sigwait({signal.SIGTERM})"],
        "envFrom": [{"secretRef": {"name": SECRET}}],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": {"requests": dict(requests), "limits": {"memory": "1Gi"}},
        "securityContext": SECURITY,
        "volumeMounts": [{"name": volume, "mountPath": f"/{volume}"} for volume in volumes],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": volume, **source} for volume, source in volumes.items()],
        },
    }


def wait_until_ready(namespace: Namespace, name: str) -> None:
    """Wait until a pod is ready, for a minute at most."""

    def not_ready() -> str | None:
        return None if is_ready(namespace.get(f"pod/{name}")) else "not ready"

    namespace.wait(f"the pod {name}", not_ready, timeout=60)

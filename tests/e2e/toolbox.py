# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A pod of the load-test image, in which a scenario runs the `tidegate` command next to a release."""

from tests.e2e.kube import SECURITY, Namespace
from tests.e2e.release import SECRET
from tests.e2e.target import Target
from tidegate.kubernetes.pods import is_ready

POD = "toolbox"
FOLDER = "/work"
"""The pod's folder for results."""


class Toolbox:
    """An idle pod with the `tidegate` command.

    Args:
        namespace: The pod's namespace.
        target: The cluster under test.
    """

    def __init__(self, namespace: Namespace, target: Target) -> None:
        self._namespace = namespace
        self._target = target

    def start(self) -> None:
        """Create the pod and wait until it is ready."""
        container = {
            "name": POD,
            "image": self._target.images["loadtest"],
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-c", "import signal; signal.sigwait({signal.SIGTERM})"],
            "envFrom": [{"secretRef": {"name": SECRET}}],
            "env": [{"name": "AWS_ENDPOINT_URL", "value": self._target.s3_from_pods}],
            "resources": {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
            "securityContext": SECURITY,
            "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("work", "tmp")],
        }
        self._namespace.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": POD},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                    "volumes": [{"name": name, "emptyDir": {}} for name in ("work", "tmp")],
                },
            }
        )
        self._namespace.wait("the toolbox", self._not_ready, timeout=60)

    def tidegate(self, *arguments: str, timeout: float) -> str:
        """Run the `tidegate` command and return its standard output."""
        return self._namespace.execute(POD, "tidegate", *arguments, timeout=timeout)

    def read(self, file: str) -> str:
        """Return the text of a file of the pod."""
        program = f"import pathlib; print(pathlib.Path({file!r}).read_text(), end='')"
        return self._namespace.execute(POD, "python", "-c", program)

    def _not_ready(self) -> str | None:
        return None if is_ready(self._namespace.get(f"pod/{POD}")) else "not ready"

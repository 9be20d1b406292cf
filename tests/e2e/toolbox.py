# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A pod of the load-test image, in which a scenario runs the `tidegate` command next to a release."""

from tests.e2e.idle_pod import idle_pod, wait_until_ready
from tests.e2e.kube import Namespace
from tests.e2e.target import Target

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
        self._namespace.apply(
            idle_pod(
                POD,
                self._target.images["loadtest"],
                requests={"cpu": "200m", "memory": "256Mi"},
                environment={"AWS_ENDPOINT_URL": self._target.s3_from_pods},
                volumes={FOLDER.strip("/"): {"emptyDir": {}}},
            )
        )
        wait_until_ready(self._namespace, POD)

    def tidegate(self, *arguments: str, timeout: float) -> str:
        """Run the `tidegate` command and return its standard output."""
        return self._namespace.execute(POD, "tidegate", *arguments, timeout=timeout)

    def read(self, file: str) -> str:
        """Return the text of a file of the pod."""
        program = f"import pathlib; print(pathlib.Path({file!r}).read_text(), end='')"
        return self._namespace.execute(POD, "python", "-c", program)

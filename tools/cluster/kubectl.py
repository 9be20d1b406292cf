# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The kubectl command inside the node's network namespace.

A thin wrapper without knowledge of the objects. It uses the cluster's kubeconfig and no other.
"""

import json
from pathlib import Path
from typing import Any

from . import network
from .command import Runner
from .layout import Layout


class Kubectl:
    """The kubectl command with this cluster's credentials.

    Args:
        command: The built kubectl.
        layout: The path of the kubeconfig.
        runner: Runs the command.
    """

    def __init__(self, command: Path, layout: Layout, runner: Runner) -> None:
        self._prefix = [
            str(command),
            f"--kubeconfig={layout.kubeconfig}",
            f"--cache-dir={layout.state / 'discovery'}",
        ]
        self._runner = runner

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl and return its standard output."""
        return self._runner.run(
            network.in_namespace([*self._prefix, *arguments]), stdin=stdin, timeout=timeout
        )

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object, or a List of objects."""
        document: dict[str, Any] = json.loads(self.run("get", *arguments, "--output=json"))
        return document

    def apply(self, manifest: str) -> None:
        """Apply manifests on the server side, because some objects are too large for kubectl's annotation."""
        self.run(
            *("apply", "--server-side", "--force-conflicts", "--field-manager=tidegate-test", "-f", "-"),
            stdin=manifest,
            timeout=180,
        )

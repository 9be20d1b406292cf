# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Speak to the cluster through kubectl, from inside the node's network namespace.

A thin wrapper: what to apply and what to read is the caller's business. It never uses a kubeconfig but the
cluster's.
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
        command: the built kubectl.
        layout: where the kubeconfig is.
        runner: what runs it.
    """

    def __init__(self, command: Path, layout: Layout, runner: Runner) -> None:
        self._prefix = [
            str(command),
            f"--kubeconfig={layout.kubeconfig}",
            f"--cache-dir={layout.state / 'discovery'}",
        ]
        self._runner = runner

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl and return what it printed."""
        return self._runner.run(network.inside([*self._prefix, *arguments]), stdin=stdin, timeout=timeout)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Read objects."""
        answer: dict[str, Any] = json.loads(self.run("get", *arguments, "--output=json"))
        return answer

    def apply(self, manifest: str) -> None:
        """Apply manifests by server-side apply, which takes objects too large for an annotation."""
        self.run(
            *("apply", "--server-side", "--force-conflicts", "--field-manager=tidegate-test", "-f", "-"),
            stdin=manifest,
            timeout=180,
        )

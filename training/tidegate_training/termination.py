# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The result of a run as one JSON line, for programs that watch the run's pod.

The line is the container's termination message, which Kubernetes keeps in the pod's status, and stands in the
log of a pod as well. A failed run writes no message; ``terminationMessagePolicy: FallbackToLogsOnError`` then
puts the end of the log, and so the error, in its place.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

TERMINATION_LOG = Path("/dev/termination-log")
"""The default ``terminationMessagePath``. From Kubernetes, "Determine the Reason for Pod Failure"."""

MAX_MESSAGE_BYTES = 4096
"""The kubelet cuts off a longer termination message."""


def format_result(reference: str | None, digest: str, metrics: Mapping[str, Any]) -> str:
    """Format the result of a run as one line of JSON with at most 4096 bytes.

    Args:
        reference: The bundle's reference in the store; None if it was not pushed.
        digest: The bundle's digest.
        metrics: Metrics by split and name. They are left out if the line would be too long.
    """
    result = {"reference": reference, "digest": digest, "metrics": metrics}
    line = json.dumps(result, separators=(",", ":"))
    if len(line.encode()) > MAX_MESSAGE_BYTES:
        line = json.dumps(result | {"metrics": {}}, separators=(",", ":"))
    return line


def parse_reference(lines: Iterable[str]) -> str | None:
    """Return the reference of the first line that :func:`format_result` made; None without such a line."""
    for line in lines:
        try:
            result = json.loads(line)
        except (ValueError, RecursionError):  # any other line of a log
            continue
        if isinstance(result, dict) and isinstance(reference := result.get("reference"), str):
            return reference
    return None


def is_in_pod() -> bool:
    """Return whether the process runs in a pod, where Kubernetes sets the address of its API server."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def write_termination_message(message: str, path: Path | None = None) -> None:
    """Write the termination message, if its file exists and is writable.

    Only a container has the file, and only some users may write it, so a failure does not fail the run.

    Args:
        message: The message, at most 4096 bytes.
        path: The file; by default :data:`TERMINATION_LOG`.
    """
    file = path or TERMINATION_LOG
    if file.is_file() and os.access(file, os.W_OK):
        with suppress(OSError):
            file.write_text(message + "\n", encoding="utf-8")

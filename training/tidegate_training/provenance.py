# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Provenance: commit, image, host and times of a run.

They differ between two runs with the same result, so they are outside the digest. No decision depends on
them.
"""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

IMAGE_VARIABLE = "TIDEGATE_IMAGE"
"""The environment variable with the image that a Job runs."""


def collect_provenance(
    folder: Path, started: datetime, run: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Collect the document ``provenance.json``.

    Args:
        folder: A folder in the repository whose commit is recorded: that of the configuration.
        started: The start of the run.
        run: The configuration, the environment, the beaten champion and the drift of the data.
    """
    commit = _run_git(folder, "rev-parse", "HEAD")
    status = _run_git(folder, "status", "--porcelain") if commit is not None else None
    return {
        "commit": commit,
        "dirty": None if status is None else bool(status),
        "image": os.environ.get(IMAGE_VARIABLE),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **(run or {}),
    }


def _run_git(folder: Path, *arguments: str) -> str | None:
    """Return git's output; None without git or without a repository, as in most images."""
    try:
        completed = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.strip()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Provenance: what may differ between two runs with the same result, and is worth knowing.

It is recorded beside the digest and never read back by anything that decides.
"""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

IMAGE = "TIDEGATE_IMAGE"
"""The environment variable in which a Job says the image that it runs in."""


def provenance(folder: Path, started: datetime) -> dict[str, Any]:
    """The document ``provenance.json``.

    Args:
        folder: The folder of the configuration; the commit is that of the repository it is in.
        started: When the run started.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain") if commit is not None else None
    return {
        "commit": commit,
        "dirty": None if status is None else bool(status),
        "image": os.environ.get(IMAGE),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None where there is no git or no repository, as in most images."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

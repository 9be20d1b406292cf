# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Build into the cache, one command at a time, and remove the remains of a killed build.

Each build writes under a name that ends in `.partial` and renames the result once it is complete. Every other
file of the cache is therefore complete. This module never deletes a complete build.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import mounts, process
from .command import Runner
from .errors import ClusterError
from .layout import Layout
from .progress import Progress
from .state import locked


def runner(layout: Layout) -> Runner:
    """Return a runner whose programs can be found again if the command that started them is killed."""
    return Runner(_token(layout))


def _token(layout: Layout) -> str:
    return f"build-{hashlib.sha256(str(layout.cache).encode()).hexdigest()[:16]}"


@contextmanager
def building(layout: Layout, progress: Progress) -> Iterator[None]:
    """Hold the cache exclusively, with all unfinished builds removed from it."""
    layout.cache.mkdir(parents=True, exist_ok=True)
    with locked(layout.cache_lock, "the cache"):
        # A running build would hold the lock, so these belong to a killed one.
        process.stop(process.find_by_token(_token(layout)), grace=0)
        for path in _unfinished(layout):
            progress.log(f"remove the unfinished {path.name}")
            _remove(path)
        _forget_build_containers(layout)
        temporary(layout).mkdir()
        yield
        _remove(temporary(layout))


def temporary(layout: Layout) -> Path:
    """Return the folder for builders' temporary files; it exists only during a build."""
    return layout.cache / "temporary.partial"


def _unfinished(layout: Layout) -> list[Path]:
    return [*layout.cache.glob("*.partial"), *layout.cache.glob("*/*.partial")]


def clear(layout: Layout, progress: Progress) -> None:
    """Remove the remains of a killed build.

    Raises:
        ClusterError: If a folder in the cache stays mounted.
    """
    if not layout.cache.is_dir():
        return
    with building(layout, progress):
        remaining = mounts.unmount_below(layout.cache, Runner())
    if remaining:
        raise ClusterError("Still mounted: " + ", ".join(str(point) for point in remaining))


def buildah(layout: Layout) -> list[str]:
    """Return the start of a buildah command that uses the cache's storage instead of the machine's."""
    storage = ["--root", str(layout.storage), "--runroot", str(layout.storage_run)]
    return ["buildah", "--storage-driver", "overlay", *storage]


def _forget_build_containers(layout: Layout) -> None:
    listing = layout.storage / "overlay-containers" / "containers.json"
    if listing.exists() and listing.read_text().strip() not in {"", "[]", "null"}:
        Runner().run([*buildah(layout), "rm", "--all"])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        mounts.unmount_below(path, Runner())
        shutil.rmtree(path)
    else:
        path.unlink()

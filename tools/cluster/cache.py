# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Build into the cache, one command at a time, and clear what a killed build has left there.

Whatever is being made has a name that ends in `.partial` and gets its own name when it is whole, so that
nothing else in the cache is ever half made. Whole things are never deleted here.
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
    """Run builders that can be found again, if the command that started them is killed."""
    return Runner(_token(layout))


def _token(layout: Layout) -> str:
    return f"build-{hashlib.sha256(str(layout.cache).encode()).hexdigest()[:16]}"


@contextmanager
def building(layout: Layout, progress: Progress) -> Iterator[None]:
    """Have the cache to oneself, with nothing unfinished in it."""
    layout.cache.mkdir(parents=True, exist_ok=True)
    with locked(layout.cache_lock, "the cache"):
        # Who builds holds the lock; so these belong to nobody any more.
        process.stop(process.carrying(_token(layout)), grace=0)
        for path in _unfinished(layout):
            progress.say(f"remove the unfinished {path.name}")
            _remove(path)
        _forget_build_containers(layout)
        temporary(layout).mkdir()
        yield
        _remove(temporary(layout))


def temporary(layout: Layout) -> Path:
    """Name the folder for builders' temporary files: it is there while something is built, and no longer."""
    return layout.cache / "temporary.partial"


def _unfinished(layout: Layout) -> list[Path]:
    return [*layout.cache.glob("*.partial"), *layout.cache.glob("*/*.partial")]


def clear(layout: Layout, progress: Progress) -> None:
    """Clear what a killed build has left.

    Raises:
        ClusterError: if something in the cache stays mounted.
    """
    if not layout.cache.is_dir():
        return
    with building(layout, progress):
        left = mounts.unmount_below(layout.cache, Runner())
    if left:
        raise ClusterError("Still mounted: " + ", ".join(str(point) for point in left))


def buildah(layout: Layout) -> list[str]:
    """Begin a buildah command on our own storage, beside whatever the machine's containers use."""
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

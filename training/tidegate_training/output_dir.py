# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The destination: the folder that a bundle goes to.

It is looked at before the work begins, and filled whole or not at all. A bundle that is there is replaced;
anything else is never touched.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.bundle import MANIFEST
from tidegate.errors import ConfigurationError


def check(directory: Path) -> None:
    """Refuse a place that a bundle cannot go to, and leave no trace there.

    Raises:
        ConfigurationError: It holds something that is no bundle, or nothing can be written there.
    """
    place = _real(directory)
    with _telling(directory):
        if place.exists() and not (place / MANIFEST).is_file() and any(place.iterdir()):
            raise ConfigurationError(f"{directory} holds what is no bundle: choose an empty folder.")
        # Permissions do not tell whether a folder can be made (in /proc they let root): making one does.
        nearest = next(folder for folder in place.parents if folder.exists())
        tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=nearest).cleanup()


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """A folder that takes a directory's place when it is complete, and goes away when it is not.

    An exception leaves what was there before. SIGKILL, after which nobody can tidy up, leaves a hidden
    folder beside the directory; between the two renames at the very end, the bundle of before is in it.

    Raises:
        ConfigurationError: As :func:`check`, or the file system fails, for example because it is full.
    """
    check(directory)
    place = _real(directory)
    with _telling(directory):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as scratch:
            folder = Path(scratch) / "bundle"
            folder.mkdir()
            yield folder
            _replace(place, folder, Path(scratch) / "replaced")


def _replace(place: Path, new: Path, old: Path) -> None:
    """Put a new folder in place of what is there, which becomes the old one."""
    try:
        if place.exists():
            place.rename(old)
        new.rename(place)
    except BaseException:  # a stop as well: between the two there must not be neither
        if old.exists() and not place.exists():
            old.rename(place)
        raise


def _real(directory: Path) -> Path:
    """The folder itself, as a link or a folder that is called '.' cannot be renamed."""
    return Path(os.path.realpath(directory))


@contextmanager
def _telling(directory: Path) -> Iterator[None]:
    """Turn the file system's failures into a sentence."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"The bundle cannot be written to {directory}: {error.strerror}; choose another folder."
        ) from None

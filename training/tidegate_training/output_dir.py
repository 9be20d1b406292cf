# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The output directory of a bundle.

It is validated before the work starts, and replaced as a whole or not at all. An existing bundle is replaced;
any other content stays untouched.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.bundle import MANIFEST
from tidegate.errors import ConfigurationError


def validate_output_dir(directory: Path) -> None:
    """Check that a bundle can be written to a directory, and leave nothing there.

    Raises:
        ConfigurationError: If the directory has other content than a bundle, or cannot be written.
    """
    path = _resolve(directory)
    with _os_errors_named(directory):
        if path.exists() and not (path / MANIFEST).is_file() and any(path.iterdir()):
            raise ConfigurationError(
                f"{directory} has files and is not a bundle, because it has no {MANIFEST}: choose an empty "
                "folder."
            )
        # Permission bits are not enough: root has them in /proc, where no folder can be created.
        nearest = next(folder for folder in path.parents if folder.exists())
        tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=nearest).cleanup()


@contextmanager
def replace_directory(directory: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces a directory when the block ends without an exception.

    After an exception the directory is as it was before. SIGKILL leaves a hidden folder next to the
    directory; between the two last renames, the previous bundle is in that folder.

    Raises:
        ConfigurationError: If the directory has other content than a bundle, or cannot be written, for
            example because the disk is full.
    """
    validate_output_dir(directory)
    path = _resolve(directory)
    with _os_errors_named(directory):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
            folder = Path(scratch) / "bundle"
            folder.mkdir()
            yield folder
            _swap(path, folder, Path(scratch) / "replaced")


def _swap(path: Path, new: Path, old: Path) -> None:
    """Rename ``path`` to ``old``, and ``new`` to ``path``."""
    try:
        if path.exists():
            path.rename(old)
        new.rename(path)
    except BaseException:  # also SystemExit, as a signal raises it between the two renames
        if old.exists() and not path.exists():
            old.rename(path)
        raise


def _resolve(directory: Path) -> Path:
    """Resolve links and '.', because neither can be renamed."""
    return Path(os.path.realpath(directory))


@contextmanager
def _os_errors_named(directory: Path) -> Iterator[None]:
    """Convert errors of the file system to errors that name the directory."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"The bundle cannot be written to {directory}: {error.strerror}; choose another folder."
        ) from None

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The output directories of a bundle and of a report.

Both are validated before the work starts. A bundle's is replaced as a whole or not at all: an existing bundle
is replaced, any other content stays untouched. A report's has each file completely or not at all.
"""

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
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
        _require_writable(path)


def validate_report_dir(directory: Path, bundle: Path) -> None:
    """Check that a report can be written to a directory, and leave nothing there.

    Args:
        directory: The directory of the report.
        bundle: The output directory of the bundle, which the report would damage.

    Raises:
        ConfigurationError: If the directory cannot be written, is in that of the bundle, or is a bundle.
    """
    path = _resolve(directory)
    if path.is_relative_to(_resolve(bundle)):
        raise ConfigurationError(
            f"The report cannot be in the bundle's directory, {bundle}: choose another folder than "
            f"{directory}."
        )
    with _os_errors_named(directory, "report"):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if (path / MANIFEST).is_file():
            raise ConfigurationError(
                f"{directory} is a bundle, which the report would damage: choose another folder."
            )
        _require_writable(path / "report")  # files are written in the directory, which is never replaced


def write_report_dir(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a report, and replace those of an earlier one.

    Args:
        directory: The directory.
        files: The content of each file by name.

    Raises:
        ConfigurationError: If the directory cannot be written.
    """
    path = _resolve(directory)
    with _os_errors_named(directory, "report"):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".report-", dir=path) as scratch:
            for name, content in files.items():
                (Path(scratch) / name).write_bytes(content)
            for name in files:
                (Path(scratch) / name).replace(path / name)


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


def _require_writable(path: Path) -> None:
    """Create a folder where a path would be, and remove it.

    Permission bits are not enough: root has them in /proc, where no folder can be created.

    Raises:
        OSError: If it cannot be created.
    """
    nearest = next(folder for folder in path.parents if folder.exists())
    tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=nearest).cleanup()


@contextmanager
def _os_errors_named(directory: Path, content: str = "bundle") -> Iterator[None]:
    """Convert errors of the file system to errors that name the directory.

    Args:
        directory: The directory.
        content: What the directory is for.
    """
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"The {content} cannot be written to {directory}: {error.strerror}; choose another folder."
        ) from None

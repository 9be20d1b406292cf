# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle: a directory that is named by its content and never changes.

``manifest.json`` lists every other file with size and SHA-256; the bundle's digest is the SHA-256 of the
manifest. Here a bundle is sealed, checked and read. Nothing in it is ever built into an object here:
that is for who has a policy on what may be built.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tidegate.contract import NAME_PATTERN, Contract
from tidegate.digest import canonical_json, parse_digest, sha256, sha256_of_file
from tidegate.errors import BundleError

FORMAT_VERSION: Literal[1] = 1

MANIFEST = "manifest.json"
CONTRACT = "contract.json"
SKOPS = "model.skops"
ONNX = "model.onnx"
PARITY = "parity.json"
JOBLIB = "model.joblib"
BASELINE = "baseline.json"
METRICS = "metrics.json"
MODEL_CARD = "MODEL_CARD.md"
PROVENANCE = "provenance.json"

REQUIRED = frozenset({CONTRACT, SKOPS, PARITY, BASELINE, METRICS, MODEL_CARD})
OUTSIDE_THE_DIGEST = frozenset({PROVENANCE})
"""What varies between two runs with the same result, so that it must not change the result's name."""

MANIFEST_LIMIT = 1 << 20
"""A manifest is read whole before anything of it is known to be true, so its size is bounded, in bytes."""

# One or two plain path segments. Everything that could leave the directory or hide in it
# has no way of being written down.
_FILE_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}/)?[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileEntry(_Part):
    """A file of the bundle: its size in bytes and its SHA-256."""

    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Data(_Part):
    """The data that a model was trained on: its SHA-256 and its number of rows."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    rows: Annotated[int, Field(ge=1)]


class Manifest(_Part):
    """What a bundle is and what it holds. Its canonical bytes give the bundle its digest."""

    format_version: Literal[1]
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    task: Literal["classification", "regression"]
    algorithm: str
    """The estimator's class name in scikit-learn."""
    parameters: dict[str, JsonValue]
    seed: int
    data: Data
    versions: dict[str, str]
    """Python packages whose version matters to loading or to the result, by distribution name."""
    files: dict[str, FileEntry]

    def to_bytes(self) -> bytes:
        """The canonical bytes, as they are stored."""
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a bundle: the file, what was expected of it and what was found."""

    file: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Bundle:
    """A bundle in a local directory whose manifest is known to be the one that the digest names.

    The other files are known only once :meth:`read` has returned them or :func:`verify` has passed.
    """

    path: Path
    digest: str
    manifest: Manifest

    def __contains__(self, name: str) -> bool:
        return name in self.manifest.files

    def read(self, name: str) -> bytes:
        """The content of a file, checked as it is read, so that what was checked is what is used.

        Raises:
            BundleError: The manifest does not list the file, or it is missing or altered.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError(f"The bundle {self.path} has no file {name}: its manifest does not list it.")
        try:
            content = (self.path / name).read_bytes()
        except OSError as error:
            raise BundleError(f"The bundle {self.path} cannot be read at {name}: {error.strerror}.") from None
        if len(content) != entry.size or sha256(content) != entry.sha256:
            raise BundleError(
                f"{self.path / name} is not the file of the manifest: expected {entry.size} bytes with "
                f"SHA-256 {entry.sha256}, found {len(content)} bytes with {sha256(content)}; pull it again."
            )
        return content

    def provenance(self) -> bytes | None:
        """What ``provenance.json`` says, if it is there. No digest vouches for it.

        Raises:
            BundleError: It is there and cannot be read.
        """
        file = self.path / PROVENANCE
        if file.is_symlink() or not file.is_file():
            return None
        try:
            return file.read_bytes()
        except OSError as error:
            raise BundleError(f"{file} cannot be read: {error.strerror}.") from None

    @cached_property
    def contract(self) -> Contract:
        """The contract, read from its file.

        Raises:
            BundleError: The file is altered or is no contract.
        """
        try:
            return Contract.model_validate_json(self.read(CONTRACT))
        except ValidationError as error:
            raise BundleError(
                f"{self.path / CONTRACT} is no contract of format {FORMAT_VERSION}: {_first(error)}."
            ) from None


def seal(path: Path, **fields: Any) -> Bundle:
    """Write the manifest of a directory that is complete, and so make it a bundle.

    Args:
        path: The directory with every other file in place.
        **fields: The manifest's fields but for ``format_version`` and ``files``.

    Returns:
        The bundle, with the digest that is its name.

    Raises:
        BundleError: The directory misses a required file or holds one that a bundle cannot.
    """
    files: dict[str, FileEntry] = {}
    for name, file in sorted(_walk(path)):
        if name == MANIFEST or name in OUTSIDE_THE_DIGEST:
            continue
        if (complaint := _unfit(name, file)) is not None:
            raise BundleError(f"{path} cannot be sealed: {complaint}.")
        files[name] = FileEntry(size=file.stat().st_size, sha256=sha256_of_file(file))
    if missing := REQUIRED - files.keys():
        raise BundleError(f"{path} cannot be sealed: it misses {', '.join(sorted(missing))}.")
    manifest = Manifest(format_version=FORMAT_VERSION, files=files, **fields)
    content = manifest.to_bytes()
    # Appears whole or not at all: a directory without a manifest is no bundle.
    partial = path / f".{MANIFEST}"
    partial.write_bytes(content)
    partial.replace(path / MANIFEST)
    return Bundle(path, sha256(content), manifest)


def open_bundle(path: Path, digest: str | None = None) -> Bundle:
    """Open a bundle's manifest, before a byte of it is parsed compared with the digest that was asked for.

    Args:
        path: The directory.
        digest: The expected digest, with or without ``sha256:``; None opens whatever is there, for looking at
            one's own files.

    Raises:
        BundleError: No bundle, another digest, or a format that this version does not know.
        ConfigurationError: The expected digest is none.
    """
    expected = None if digest is None else parse_digest(digest)
    file = path / MANIFEST
    try:
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{file} is no regular file: a bundle holds no links.")
        if status.st_size > MANIFEST_LIMIT:
            raise BundleError(f"{file} has {status.st_size} bytes: a manifest has at most {MANIFEST_LIMIT}.")
        content = file.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{path} is no bundle: it has no {MANIFEST}.") from None
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}.") from None
    return Bundle(path, sha256(content), parse_manifest(content, expected, str(file)))


def parse_manifest(content: bytes, digest: str | None, where: str) -> Manifest:
    """Check a manifest's bytes against its digest, then parse them.

    Raises:
        BundleError: Another digest, an unknown format, not canonical, or a file name that cannot be.
    """
    found = sha256(content)
    if digest is not None and found != digest:
        raise BundleError(
            f"{where} has the digest {found}, expected {digest}: it is not the bundle that was asked for."
        )
    try:
        version = _Versioned.model_validate_json(content).format_version
        if version != FORMAT_VERSION:
            raise BundleError(
                f"{where} has format version {version}, and this version of Tidegate reads {FORMAT_VERSION}: "
                "use the version that wrote it, or train again."
            )
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{where} is no manifest: {_first(error)}.") from None
    for name in manifest.files:
        if (complaint := _unfit(name)) is not None:
            raise BundleError(f"{where} lists a file that a bundle cannot hold: {complaint}.")
    if missing := REQUIRED - manifest.files.keys():
        raise BundleError(f"{where} does not list {', '.join(sorted(missing))}, which every bundle has.")
    try:
        canonical = manifest.to_bytes() == content
    except ValueError:  # NaN or infinity among the parameters
        canonical = False
    if not canonical:
        raise BundleError(f"{where} is not in canonical form: it was written or edited by something else.")
    return manifest


def problems(bundle: Bundle) -> list[Problem]:
    """Everything that differs between a directory and its manifest, file by file."""
    found: list[Problem] = []
    present = dict(_walk(bundle.path))
    for name, entry in bundle.manifest.files.items():
        file = present.pop(name, None)
        if file is None:
            found.append(Problem(name, f"{entry.size} bytes", "no such file"))
        elif (complaint := _unfit(name, file)) is not None:
            found.append(Problem(name, "a plain file", complaint))
        elif (size := file.stat().st_size) != entry.size:
            found.append(Problem(name, f"{entry.size} bytes", f"{size} bytes"))
        elif (actual := sha256_of_file(file)) != entry.sha256:
            found.append(Problem(name, f"SHA-256 {entry.sha256}", actual))
    for name, file in present.items():
        if name != MANIFEST and (name not in OUTSIDE_THE_DIGEST or not stat.S_ISREG(file.lstat().st_mode)):
            found.append(Problem(name, "no such file", "a file that the manifest does not list"))
    return found


def verify(path: Path, digest: str | None = None) -> Bundle:
    """Open a bundle and check every file of it.

    Raises:
        BundleError: Anything is not as the digest says; the sentence names each file.
        ConfigurationError: The expected digest is none.
    """
    bundle = open_bundle(path, digest)
    if wrong := problems(bundle):
        raise BundleError(f"The bundle {path} is not what its digest says: {'; '.join(map(str, wrong))}.")
    return bundle


class _Versioned(BaseModel):
    """The one field that every format version has."""

    format_version: int


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Every entry below root that is no directory, links included and not followed, by relative name."""
    for folder, folders, files in os.walk(root, followlinks=False):
        for name in files + [name for name in folders if (Path(folder) / name).is_symlink()]:
            file = Path(folder) / name
            yield file.relative_to(root).as_posix(), file


def _unfit(name: str, file: Path | None = None) -> str | None:
    """Why a bundle cannot hold a file of this name (and, if given, of this kind); None if it can."""
    if not _FILE_NAME.fullmatch(name):
        return f"{name!r} is no plain relative path"
    if name == MANIFEST or name in OUTSIDE_THE_DIGEST:
        return f"{name!r} is outside the digest"
    if file is not None and (not stat.S_ISREG(file.lstat().st_mode) or file.parent.is_symlink()):
        return f"{name!r} is a link or a special file"
    return None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}"

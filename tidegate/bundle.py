# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle: an immutable directory with a model, named by the digest of its content.

>>> import tempfile
>>> from pathlib import Path
>>> from tidegate.bundle import METRICS, REQUIRED, seal, verify
>>> folder = Path(tempfile.mkdtemp())
>>> for name in REQUIRED:
...     _ = (folder / name).write_text("{}")
>>> bundle = seal(
...     folder,
...     name="iris",
...     task="classification",
...     algorithm="LogisticRegression",
...     parameters={"C": 1.0},
...     seed=1,
...     data={"sha256": "0" * 64, "rows": 150},
...     versions={"scikit-learn": "1.9.1"},
... )
>>> verify(folder, bundle.digest).manifest.algorithm
'LogisticRegression'

A file that changes afterwards no longer matches the digest:

>>> _ = (folder / METRICS).write_text('{"f1": 1}')
>>> verify(folder, bundle.digest)
Traceback (most recent call last):
tidegate.errors.BundleError: ... metrics.json: expected 2 bytes, found 9 bytes.

``manifest.json`` lists every other file with size and SHA-256; the SHA-256 of the manifest is the bundle's
digest. This module seals, opens, verifies and reads bundles. It never builds an object from a file in a
bundle, because that needs a policy about allowed types: :mod:`tidegate_serving.loading` has one.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tidegate.contract import NAME_PATTERN, Contract, Task
from tidegate.digest import canonical_json, parse_digest, sha256, sha256_of_file
from tidegate.errors import BundleError, first_problem

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
REPORT = "report.html"
PROVENANCE = "provenance.json"
SIGNATURE = "bundle.sig"
SLSA_PROVENANCE = "slsa-provenance.sigstore.json"
ML_BOM = "ml-bom.sigstore.json"

REQUIRED = frozenset({CONTRACT, SKOPS, PARITY, BASELINE, METRICS, MODEL_CARD})
"""The files that every bundle has in addition to its manifest. A bundle of an ONNX file has ``model.onnx``
instead of ``model.skops``."""
ATTESTATIONS = (SIGNATURE, SLSA_PROVENANCE, ML_BOM)
"""The files that a signer adds to a sealed bundle. Signing again replaces them."""
EXCLUDED_FROM_DIGEST = frozenset({PROVENANCE, *ATTESTATIONS})
"""Files that differ between two runs with the same result, and must not change the result's digest."""

MAX_MANIFEST_BYTES = 1 << 20
"""The maximum size of a manifest, because it is read whole before its digest is known."""
MAX_EXCLUDED_BYTES = 1 << 20
"""The maximum size of a file outside the digest, because no manifest has its size."""

# One or two plain path segments: a name cannot leave the directory and cannot be hidden in it.
_FILE_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}/)?[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class _ManifestModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileEntry(_ManifestModel):
    """A file of the bundle: its size in bytes and its SHA-256."""

    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Data(_ManifestModel):
    """The training data: its SHA-256 and its number of rows."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    rows: Annotated[int, Field(ge=1)]


class Manifest(_ManifestModel):
    """The description of a bundle and the list of its files. Its canonical bytes have the bundle's digest."""

    format_version: Literal[1]
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    task: Task
    algorithm: str
    """The estimator's class name in scikit-learn."""
    parameters: dict[str, JsonValue]
    seed: int
    data: Data
    versions: dict[str, str]
    """By distribution name, versions of Python packages that affect loading or the result."""
    files: dict[str, FileEntry]

    def to_bytes(self) -> bytes:
        """Serialise the manifest to its canonical bytes, the content of ``manifest.json``."""
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Problem:
    """A difference between a bundle's manifest and its directory."""

    file: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Bundle:
    """A bundle in a local directory, with the manifest that its digest names.

    The digest vouches for another file only after :meth:`read` returned its content or :func:`verify` passed.
    """

    path: Path
    digest: str
    manifest: Manifest

    def __contains__(self, name: str) -> bool:
        return name in self.manifest.files

    def read(self, name: str) -> bytes:
        """Read a file and verify the bytes that are returned, so the file cannot change in between.

        Raises:
            BundleError: If the manifest does not list the file, or the file is missing or altered.
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
                f"{self.path / name} differs from the manifest: expected {entry.size} bytes with SHA-256 "
                f"{entry.sha256}, found {len(content)} bytes with {sha256(content)}; pull the bundle again."
            )
        return content

    @property
    def label(self) -> str:
        """The bundle's name and digest, for messages."""
        return f"{self.manifest.name}@sha256:{self.digest}"

    def read_excluded(self, name: str) -> bytes | None:
        """Read a file that the digest does not cover; None if it does not exist.

        Raises:
            BundleError: If the file exists and cannot be read, or is larger than such files are.
        """
        file = self.path / name
        if file.is_symlink() or not file.is_file():
            return None
        try:
            with file.open("rb") as source:
                content = source.read(MAX_EXCLUDED_BYTES + 1)
        except OSError as error:
            raise BundleError(f"{file} cannot be read: {error.strerror}.") from None
        if len(content) > MAX_EXCLUDED_BYTES:
            raise BundleError(f"{file} is larger than {MAX_EXCLUDED_BYTES} bytes; remove it.")
        return content

    def write_excluded(self, name: str, content: bytes) -> None:
        """Write a file that the digest does not cover, or replace it.

        Raises:
            BundleError: If the directory cannot be written.
        """
        assert name in EXCLUDED_FROM_DIGEST
        try:
            _write_atomically(self.path / name, content)
        except OSError as error:
            raise BundleError(f"{self.path / name} cannot be written: {error.strerror}.") from None

    @cached_property
    def contract(self) -> Contract:
        """The contract, read and verified at the first access.

        Raises:
            BundleError: If the file is altered or is not a contract.
        """
        try:
            return Contract.model_validate_json(self.read(CONTRACT))
        except ValidationError as error:
            file, problem = self.path / CONTRACT, first_problem(error)
            raise BundleError(f"{file} is not a contract of format {FORMAT_VERSION}: {problem}.") from None


def seal(path: Path, **fields: Any) -> Bundle:
    """Write the manifest of a complete directory, which makes it a bundle.

    Args:
        path: The directory, with every other file in place.
        **fields: The manifest's fields except ``format_version`` and ``files``.

    Raises:
        BundleError: If a required file is missing, or a file is not allowed in a bundle.
    """
    files: dict[str, FileEntry] = {}
    for name, file in sorted(_walk(path)):
        if name == MANIFEST or name in EXCLUDED_FROM_DIGEST:
            continue
        if (reason := _disallowed(name, file)) is not None:
            raise BundleError(f"{path} cannot be sealed: {reason}.")
        files[name] = FileEntry(size=file.stat().st_size, sha256=sha256_of_file(file))
    if missing := _missing(files):
        raise BundleError(f"{path} cannot be sealed: it misses {', '.join(sorted(missing))}.")
    manifest = Manifest(format_version=FORMAT_VERSION, files=files, **fields)
    content = manifest.to_bytes()
    # A directory without a manifest is not a bundle, and half a manifest never exists.
    _write_atomically(path / MANIFEST, content)
    return Bundle(path, sha256(content), manifest)


def open_bundle(path: Path, digest: str | None = None) -> Bundle:
    """Read a bundle's manifest and compare it with the expected digest before parsing it.

    Args:
        path: The directory.
        digest: The expected digest, with or without ``sha256:``. None accepts any, for files that you trust.

    Raises:
        BundleError: If there is no bundle, its digest differs, or its format is unknown.
        ConfigurationError: If the expected digest is not valid.
    """
    expected = None if digest is None else parse_digest(digest)
    if path.is_file():
        raise BundleError(
            f"{path} is a file, and a bundle is a directory: make a bundle of a fitted model with 'tidegate "
            f"bundle {path} --data ROWS.csv --name NAME'."
        )
    file = path / MANIFEST
    try:
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{file} is not a regular file: a bundle holds no links.")
        if status.st_size > MAX_MANIFEST_BYTES:
            raise BundleError(
                f"{file} has {status.st_size} bytes: a manifest has at most {MAX_MANIFEST_BYTES}."
            )
        content = file.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}.") from None
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}.") from None
    return Bundle(path, sha256(content), parse_manifest(content, expected, str(file)))


def parse_manifest(content: bytes, digest: str | None, where: str) -> Manifest:
    """Compare a manifest's bytes with their digest, then parse and validate them.

    Args:
        content: The bytes of the manifest.
        digest: The expected digest; None accepts any.
        where: The manifest's place, for error messages.

    Raises:
        BundleError: If the digest differs, the format is unknown, the bytes are not canonical, or a file
            name is not allowed.
    """
    actual = sha256(content)
    if digest is not None and actual != digest:
        raise BundleError(
            f"{where} has the digest {actual}, expected {digest}: it is another bundle, or it is altered."
        )
    try:
        version = _FormatVersion.model_validate_json(content).format_version
        if version != FORMAT_VERSION:
            raise BundleError(
                f"{where} has format version {version}, and this version of Tidegate reads {FORMAT_VERSION}: "
                "use the version that wrote it, or train again."
            )
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{where} is not a manifest: {first_problem(error)}.") from None
    for name in manifest.files:
        if (reason := _disallowed(name)) is not None:
            raise BundleError(f"{where} lists a file that a bundle cannot hold: {reason}.")
    if missing := _missing(manifest.files):
        raise BundleError(f"{where} does not list {', '.join(sorted(missing))}, which every bundle has.")
    try:
        canonical = manifest.to_bytes() == content
    except ValueError:  # NaN or infinity among the parameters
        canonical = False
    if not canonical:
        raise BundleError(
            f"{where} is not in canonical form: expected the bytes that Tidegate writes; train again."
        )
    return manifest


def find_problems(bundle: Bundle) -> list[Problem]:
    """Compare the manifest with the directory and return every difference."""
    problems: list[Problem] = []
    present = dict(_walk(bundle.path))
    for name, entry in bundle.manifest.files.items():
        file = present.pop(name, None)
        if file is None:
            problems.append(Problem(name, f"{entry.size} bytes", "no such file"))
        elif (reason := _disallowed(name, file)) is not None:
            problems.append(Problem(name, "a plain file", reason))
        elif (size := file.stat().st_size) != entry.size:
            problems.append(Problem(name, f"{entry.size} bytes", f"{size} bytes"))
        elif (actual := sha256_of_file(file)) != entry.sha256:
            problems.append(Problem(name, f"SHA-256 {entry.sha256}", actual))
    for name, file in present.items():
        allowed = name in EXCLUDED_FROM_DIGEST and stat.S_ISREG(file.lstat().st_mode)
        if name != MANIFEST and not allowed:
            problems.append(Problem(name, "no such file", "a file that the manifest does not list"))
    return problems


def verify(path: Path, digest: str | None = None) -> Bundle:
    """Open a bundle and verify every file.

    Args:
        path: The directory.
        digest: The expected digest, with or without ``sha256:``. None accepts any.

    Raises:
        BundleError: If the bundle differs from its digest; the message names each file.
        ConfigurationError: If the expected digest is not valid.
    """
    bundle = open_bundle(path, digest)
    if problems := find_problems(bundle):
        raise BundleError(f"The bundle {path} differs from its digest: {'; '.join(map(str, problems))}.")
    return bundle


def _write_atomically(file: Path, content: bytes) -> None:
    partial = file.with_name(f".{file.name}")
    try:
        partial.write_bytes(content)
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True)  # the directory would not be a bundle with it
        raise


def _missing(files: Mapping[str, FileEntry]) -> frozenset[str]:
    """Return the required files that a bundle lacks. A compiled model stands for the pipeline."""
    return REQUIRED - files.keys() - ({SKOPS} if ONNX in files else set())


class _FormatVersion(BaseModel):
    """The one field that every format version has."""

    format_version: int


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file and link below root with its relative name; links are not followed."""
    for folder, folders, files in os.walk(root, followlinks=False):
        for name in files + [name for name in folders if (Path(folder) / name).is_symlink()]:
            file = Path(folder) / name
            yield file.relative_to(root).as_posix(), file


def _disallowed(name: str, file: Path | None = None) -> str | None:
    """Return why a bundle cannot hold a file of this name and, if given, of this kind; None if it can."""
    if not _FILE_NAME.fullmatch(name):
        return f"{name!r} is not a plain relative path"
    if name == MANIFEST or name in EXCLUDED_FROM_DIGEST:
        return f"{name!r} is outside the digest"
    if file is not None and (not stat.S_ISREG(file.lstat().st_mode) or file.parent.is_symlink()):
        return f"{name!r} is a link or a special file"
    return None

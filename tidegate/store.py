# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The store: bundles under their digests, and channels that point to them.

>>> import tempfile
>>> from pathlib import Path
>>> from tidegate.bundle import REQUIRED, seal
>>> from tidegate.store import Store, fetch
>>> folder = Path(tempfile.mkdtemp())
>>> (folder / "iris").mkdir()
>>> for name in REQUIRED:
...     _ = (folder / "iris" / name).write_text("{}")
>>> facts = {"algorithm": "GaussianNB", "parameters": {}, "seed": 1, "versions": {}}
>>> data = {"sha256": "0" * 64, "rows": 150}
>>> bundle = seal(folder / "iris", name="iris", task="classification", data=data, **facts)
>>> store = Store(str(folder / "store"))
>>> str(store.push(bundle))
'file:///.../store/iris@sha256:...'
>>> channel = store.move_channel("iris", "stable", bundle.digest)
>>> fetch(str(channel), cache=folder / "cache").digest == bundle.digest
True

A bundle is stored as ``<store>/<name>/<digest>/…``, its manifest last: without a manifest there is no bundle.
A channel's history is ``<store>/<name>/channels/<channel>/<n>.json``. An entry is written only if it does not
exist, so of two concurrent writers one fails, on every kind of store. Nothing is ever deleted.
"""

import errno
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidegate.bundle import (
    ATTESTATIONS,
    EXCLUDED_FROM_DIGEST,
    MANIFEST,
    MAX_EXCLUDED_BYTES,
    MAX_MANIFEST_BYTES,
    PROVENANCE,
    Bundle,
    parse_manifest,
    verify,
)
from tidegate.digest import canonical_json
from tidegate.errors import AccessDeniedError, BundleError, ConfigurationError, NotFoundError, StoreError
from tidegate.mlflow_registry import resolve_registered
from tidegate.objects import Objects
from tidegate.reference import (
    ChannelReference,
    Reference,
    is_registered,
    looks_like_reference,
    parse_reference,
)

_MAX_CHANNEL_ENTRY_BYTES = 4096


class _ChannelEntry(BaseModel):
    """An entry of a channel's history: the digest that the channel points to."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _ignore(name: str, size: int) -> None:
    """Do nothing."""


def _accept(bundle: Bundle) -> None:
    """Accept each bundle that has its digest."""


class Store:
    """A folder, or a bucket with a prefix, that contains bundles and channels.

    Args:
        uri: ``file:///folder``, ``s3://bucket/prefix``, ``gs://…``, ``az://…``, or a folder's path.
            Credentials, endpoint and region of object storage come from the environment
            (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, …).

    Raises:
        ConfigurationError: If the URI has an unknown scheme.
    """

    def __init__(self, uri: str) -> None:
        self._objects = Objects(uri)
        self.uri = self._objects.uri

    def push(self, bundle: Bundle, on_file: Callable[[str, int], None] = _ignore) -> Reference:
        """Store a bundle under its digest. A push that was killed can be repeated.

        Files that the digest covers are written again if they exist: the digest allows one content only, so
        this repairs damage and changes nothing else. An existing provenance stays, because the digest does
        not cover it. The bundle's signature replaces that of the store.

        Args:
            bundle: The bundle; the bytes of each file are verified and then stored.
            on_file: Called with name and size in bytes after each object that was written.

        Raises:
            BundleError: If a file differs from the manifest.
            StoreError: If the store is unreachable or fails.
        """
        reference = Reference(self.uri, bundle.manifest.name, bundle.digest)
        prefix = f"{reference.name}/{reference.digest}"
        for name, entry in bundle.manifest.files.items():
            self.put(f"{prefix}/{name}", bundle.read(name))
            on_file(name, entry.size)
        if (provenance := bundle.read_excluded(PROVENANCE)) is not None:
            with suppress(FileExistsError):
                self._objects.write(f"{prefix}/{PROVENANCE}", provenance, "create")
                on_file(PROVENANCE, len(provenance))
        self.push_attestations(bundle)
        manifest = bundle.manifest.to_bytes()
        self.put(f"{prefix}/{MANIFEST}", manifest)  # the last object: it makes the bundle exist
        on_file(MANIFEST, len(manifest))
        return reference

    def push_attestations(self, bundle: Bundle) -> None:
        """Store the signature of a bundle that the store holds, and replace an earlier one.

        Raises:
            StoreError: If the store is unreachable or fails.
        """
        for name in reversed(ATTESTATIONS):  # the signature last: it says that the others are there
            if (content := bundle.read_excluded(name)) is not None:
                self.put(f"{bundle.manifest.name}/{bundle.digest}/{name}", content)

    def pull(
        self,
        reference: Reference,
        directory: Path,
        on_file: Callable[[str, int], None] = _ignore,
        admit: Callable[[Bundle], object] = _accept,
    ) -> Bundle:
        """Download a bundle and verify it. The directory appears only after every file is verified.

        The manifest is compared with the digest before it is parsed. If several processes pull into one
        directory, the first one creates it and the others verify it.

        Args:
            reference: The bundle.
            directory: A directory that does not exist yet, or already holds this bundle.
            on_file: Called with name and size in bytes after each file that was downloaded.
            admit: Called before the files that the manifest lists are downloaded; raises an error for a
                bundle that must not be used here.

        Raises:
            BundleError: If the store or the directory holds content that differs from the digest, or the
                bundle is that of another name, or it is not admitted.
            ConfigurationError: If the directory cannot be written.
            NotFoundError: If the store does not contain the bundle.
            StoreError: If the store is unreachable or fails.
        """
        prefix = f"{reference.name}/{reference.digest}"
        partial = directory.parent / f".{directory.name}.{secrets.token_hex(4)}"
        try:
            if directory.exists():
                present = verify(directory, reference.digest)
                self._admit_present(present, admit)
                return present
            content = self._objects.read(
                f"{prefix}/{MANIFEST}", MAX_MANIFEST_BYTES, f"the bundle {reference}"
            )
            manifest = parse_manifest(content, reference.digest, f"{MANIFEST} of {reference}")
            if manifest.name != reference.name:
                raise BundleError(
                    f"{reference} is a bundle of {manifest.name}: expected one of {reference.name}; move the "
                    "channel to a bundle of its own model, or pull the other one by its name."
                )
            partial.mkdir(parents=True)
            (partial / MANIFEST).write_bytes(content)
            for name, excluded in self._read_excluded(prefix, sorted(EXCLUDED_FROM_DIGEST)):
                (partial / name).write_bytes(excluded)
            admit(Bundle(partial, reference.digest, manifest))
            for name, entry in manifest.files.items():
                label = f"{name} of {reference}"
                self._objects.download(f"{prefix}/{name}", partial / name, entry.size, label)
                on_file(name, entry.size)
            verify(partial, reference.digest)
            partial.rename(directory)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # a concurrent pull created it first
                return verify(directory, reference.digest)
            raise ConfigurationError(
                f"{directory} cannot be written: {error.strerror}; choose another directory."
            ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return Bundle(directory, reference.digest, manifest)

    def _admit_present(self, bundle: Bundle, admit: Callable[[Bundle], object]) -> None:
        """Admit a bundle that was pulled earlier. It may have been signed, or signed again, since then."""
        try:
            admit(bundle)
        except BundleError:
            changed = False
            with suppress(StoreError):  # without the store, the reason above is the relevant one
                prefix = f"{bundle.manifest.name}/{bundle.digest}"
                for name, content in self._read_excluded(prefix, reversed(ATTESTATIONS)):
                    if content != bundle.read_excluded(name):
                        bundle.write_excluded(name, content)
                        changed = True
            if not changed:
                raise
            admit(bundle)

    def _read_excluded(self, prefix: str, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the names and the contents of those files outside the digest that the store holds.

        A file that the credentials cannot read counts as missing, because S3 does not tell them apart.
        """
        for name in names:
            with suppress(NotFoundError, AccessDeniedError):
                yield name, self._objects.read(f"{prefix}/{name}", MAX_EXCLUDED_BYTES, name)

    def put(self, path: str, content: bytes | Path) -> None:
        """Store bytes, or a local file's bytes, and replace an object of this path.

        Raises:
            StoreError: If the store is unreachable or fails.
        """
        self._objects.write(path, content, "overwrite")

    def resolve(self, channel: ChannelReference) -> Reference:
        """Return the bundle that a channel currently points to.

        Raises:
            NotFoundError: If the store does not contain the channel.
            StoreError: If the store is unreachable or fails, or the channel's entry is damaged.
        """
        number = self._newest_entry(channel.name, channel.channel)
        if number == 0:
            raise NotFoundError(f"The store {self.uri} has no channel {channel.channel} of {channel.name}.")
        entry = self._read_entry(channel.name, channel.channel, number)
        return Reference(self.uri, channel.name, entry.digest)

    def move_channel(
        self, name: str, channel: str, digest: str, expected: str | None = None
    ) -> ChannelReference:
        """Point a channel to a bundle in the store. The channel's history keeps the earlier entries.

        Args:
            name: The model's name.
            channel: The channel's name, such as ``stable``. A new channel is created.
            digest: The bundle's digest.
            expected: The digest that the channel must point to; None allows any.

        Raises:
            ConfigurationError: If the channel's name is not valid.
            NotFoundError: If the store does not contain the bundle.
            StoreError: If another writer moved the channel concurrently or from the expected digest, or the
                store fails.
        """
        reference = ChannelReference(self.uri, name, channel)
        label = f"the bundle {Reference(self.uri, name, digest)}"
        self._objects.read(f"{name}/{digest}/{MANIFEST}", MAX_MANIFEST_BYTES, label)
        number = self._newest_entry(name, channel)
        current = self._read_entry(name, channel, number).digest if number else None
        if expected is not None and current != expected:
            raise StoreError(
                f"{reference} points to {current or 'no bundle'}, expected {expected}: another writer moved "
                "it; inspect the channel, and retry."
            )
        if current == digest:
            return reference
        entry = canonical_json(_ChannelEntry(digest=digest).model_dump())
        try:
            self._objects.write(_channel_path(name, channel, number + 1), entry, "create")
        except FileExistsError:
            raise StoreError(
                f"{reference} was moved by another writer at the same moment: inspect the channel, and retry."
            ) from None
        return reference

    def channels(self, name: str) -> dict[str, list[str]]:
        """Return the digests that each channel of a model has pointed to, the oldest first.

        Raises:
            StoreError: If the store is unreachable or fails, or an entry is damaged.
        """
        folder = f"{name}/channels/"
        entries: dict[str, list[int]] = {}
        for path in self._objects.paths(folder):
            channel, _, file = path.removeprefix(folder).partition("/")
            if (stem := file.removesuffix(".json")).isdecimal():
                entries.setdefault(channel, []).append(int(stem))
        return {
            channel: [self._read_entry(name, channel, number).digest for number in sorted(numbers)]
            for channel, numbers in sorted(entries.items())
        }

    def _newest_entry(self, name: str, channel: str) -> int:
        """Return the number of a channel's newest entry; 0 if it has none."""
        folder = f"{name}/channels/{channel}/"
        stems = (path.removeprefix(folder).removesuffix(".json") for path in self._objects.paths(folder))
        return max((int(stem) for stem in stems if stem.isdecimal()), default=0)

    def _read_entry(self, name: str, channel: str, number: int) -> _ChannelEntry:
        path = _channel_path(name, channel, number)
        content = self._objects.read(path, _MAX_CHANNEL_ENTRY_BYTES, f"{self.uri}/{path}")
        try:
            return _ChannelEntry.model_validate_json(content)
        except ValidationError:
            raise StoreError(
                f"{self.uri}/{path} is not a channel entry: expected a JSON object with a digest, received "
                f"{content[:40]!r}; remove the object, then move the channel again."
            ) from None


def fetch(source: str, cache: Path) -> Bundle:
    """Return a verified bundle from a local directory, or pull it into the cache by its reference.

    Args:
        source: A directory, or a reference as :func:`locate` takes it.
        cache: The directory for pulled bundles.

    Raises:
        BundleError: If the bundle differs from its digest, or a registered model names none.
        ConfigurationError: If the reference is not valid, or the cache cannot be written.
        NotFoundError: If the store does not contain the bundle or the channel.
        StoreError: If the store is unreachable or fails.
    """
    if not looks_like_reference(source):
        return verify(Path(source))
    reference = locate(source)
    return Store(reference.store).pull(reference, cache / reference.name / reference.digest)


def locate(source: str) -> Reference:
    """Parse a reference, and resolve a channel or an alias to the bundle that it currently points to.

    Args:
        source: ``<store>/<name>@sha256:<digest>``, ``<store>/<name>:<channel>`` or
            ``mlflow://models/<name>@<alias>``.

    Raises:
        BundleError: If the registered model names no bundle.
        ConfigurationError: If the text is not a reference.
        NotFoundError: If the store does not contain the channel, or the registry the alias.
        StoreError: If the store or the registry is unreachable or fails.
    """
    if is_registered(source):
        return resolve_registered(source)
    reference = parse_reference(source)
    return Store(reference.store).resolve(reference) if isinstance(reference, ChannelReference) else reference


def _channel_path(name: str, channel: str, number: int) -> str:
    return f"{name}/channels/{channel}/{number}.json"

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Stores: where bundles live, each under its digest, and channels that point to them.

``<store>/<name>/<digest>/…`` holds a bundle and ``<store>/<name>/channels/<channel>/<n>.json`` a channel's
history. A bundle's manifest is written last, so what has no manifest is no bundle; a channel's entry is
written only if absent, so of two writers one wins, on every kind of store. Nothing is ever deleted here.
"""

import errno
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidegate.bundle import (
    MANIFEST,
    MANIFEST_LIMIT,
    PROVENANCE,
    Bundle,
    parse_manifest,
    verify,
)
from tidegate.digest import canonical_json
from tidegate.errors import ConfigurationError, NotFoundError, StoreError
from tidegate.objects import Objects
from tidegate.reference import ChannelReference, Reference, looks_like_reference, parse_reference

_PROVENANCE_LIMIT = 1 << 20


class _ChannelEntry(BaseModel):
    """What a channel's object says."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _ignore(name: str, size: int) -> None:
    """Report nothing."""


class Store:
    """A place for bundles: a folder, or a bucket with a prefix.

    Args:
        uri: ``file:///folder``, ``s3://bucket/prefix``, ``gs://…``, ``az://…``, or a folder's path.
            Credentials, endpoint and region of object storage come from the environment
            (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, …).

    Raises:
        ConfigurationError: The URI is of no known kind.
    """

    def __init__(self, uri: str) -> None:
        self._objects = Objects(uri)
        self.uri = self._objects.uri

    def push(self, bundle: Bundle, on_file: Callable[[str, int], None] = _ignore) -> Reference:
        """Store a bundle under its digest. Killed half-way, it can be pushed again and then is whole.

        What the digest covers is written again where it is there already: it can have only this content, so
        that nothing but damage is overwritten. The provenance can differ, and the first one stays.

        Args:
            bundle: The bundle; each file is checked as it is read, and what was checked is what is stored.
            on_file: Called with name and size in bytes after each object that was written.

        Raises:
            BundleError: A file is not what the manifest says.
            StoreError: The store does not take it.
        """
        reference = Reference(self.uri, bundle.manifest.name, bundle.digest)
        prefix = f"{reference.name}/{reference.digest}"
        for name, entry in bundle.manifest.files.items():
            self.put(f"{prefix}/{name}", bundle.read(name))
            on_file(name, entry.size)
        if (provenance := bundle.provenance()) is not None:
            with suppress(FileExistsError):
                self._objects.write(f"{prefix}/{PROVENANCE}", provenance, "create")
                on_file(PROVENANCE, len(provenance))
        manifest = bundle.manifest.to_bytes()
        self.put(f"{prefix}/{MANIFEST}", manifest)  # the last: with it the bundle exists
        on_file(MANIFEST, len(manifest))
        return reference

    def pull(
        self, reference: Reference, directory: Path, on_file: Callable[[str, int], None] = _ignore
    ) -> Bundle:
        """Fetch a bundle into a directory that does not exist yet, or already holds this bundle.

        The manifest is compared with the digest before it is parsed, each file while it is written, and the
        directory appears only when all is well. Of several pulls into one directory, the first one fills it.

        Raises:
            BundleError: What the store or the directory holds is not what the digest says.
            ConfigurationError: The directory cannot be written.
            NotFoundError: The store holds no such bundle.
            StoreError: The store does not answer.
        """
        prefix = f"{reference.name}/{reference.digest}"
        partial = directory.parent / f".{directory.name}.{secrets.token_hex(4)}"
        try:
            if directory.exists():
                return verify(directory, reference.digest)
            content = self._objects.read(f"{prefix}/{MANIFEST}", MANIFEST_LIMIT, f"the bundle {reference}")
            manifest = parse_manifest(content, reference.digest, f"{MANIFEST} of {reference}")
            partial.mkdir(parents=True)
            for name, entry in manifest.files.items():
                what = f"{name} of {reference}"
                self._objects.download(f"{prefix}/{name}", partial / name, entry.size, what)
                on_file(name, entry.size)
            with suppress(NotFoundError):
                extra = self._objects.read(f"{prefix}/{PROVENANCE}", _PROVENANCE_LIMIT, PROVENANCE)
                (partial / PROVENANCE).write_bytes(extra)
            (partial / MANIFEST).write_bytes(content)
            verify(partial, reference.digest)
            partial.rename(directory)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another pull was first
                return verify(directory, reference.digest)
            raise ConfigurationError(
                f"{directory} cannot be written: {error.strerror}; choose another directory."
            ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return Bundle(directory, reference.digest, manifest)

    def put(self, path: str, content: bytes | Path) -> None:
        """Store bytes, or a file's, in place of what is there.

        Raises:
            StoreError: The store does not take it.
        """
        self._objects.write(path, content, "overwrite")

    def resolve(self, channel: ChannelReference) -> Reference:
        """The bundle that a channel points to now.

        Raises:
            NotFoundError: The store knows no such channel.
            StoreError: The store does not answer, or the channel's entry is damaged.
        """
        number = self._head(channel.name, channel.channel)
        if number == 0:
            raise NotFoundError(f"The store {self.uri} has no channel {channel.channel} of {channel.name}.")
        return Reference(self.uri, channel.name, self._entry(channel.name, channel.channel, number).digest)

    def move_channel(self, name: str, channel: str, digest: str) -> ChannelReference:
        """Point a channel to a bundle that the store holds. Where it pointed before stays on record.

        Raises:
            ConfigurationError: A channel cannot be called so.
            NotFoundError: The store holds no such bundle.
            StoreError: Another writer moved the channel at the same moment, or the store does not answer.
        """
        moved = ChannelReference(self.uri, name, channel)
        what = f"the bundle {Reference(self.uri, name, digest)}"
        self._objects.read(f"{name}/{digest}/{MANIFEST}", MANIFEST_LIMIT, what)
        number = self._head(name, channel)
        if number and self._entry(name, channel, number).digest == digest:
            return moved
        entry = canonical_json(_ChannelEntry(digest=digest).model_dump())
        try:
            self._objects.write(_channel_path(name, channel, number + 1), entry, "create")
        except FileExistsError:
            raise StoreError(
                f"{moved} was moved by another writer at the same moment: look, and try again."
            ) from None
        return moved

    def _head(self, name: str, channel: str) -> int:
        """The number of a channel's newest entry; 0 if it has none."""
        folder = f"{name}/channels/{channel}/"
        stems = (path.removeprefix(folder).removesuffix(".json") for path in self._objects.paths(folder))
        return max((int(stem) for stem in stems if stem.isdecimal()), default=0)

    def _entry(self, name: str, channel: str, number: int) -> _ChannelEntry:
        path = _channel_path(name, channel, number)
        try:
            return _ChannelEntry.model_validate_json(self._objects.read(path, 4096, f"{self.uri}/{path}"))
        except ValidationError:
            raise StoreError(
                f"{self.uri}/{path} is no channel entry: it was not written by Tidegate."
            ) from None


def fetch(source: str, cache: Path) -> Bundle:
    """A verified bundle from a reference (then pulled into the cache) or from a local directory.

    Raises:
        BundleError, ConfigurationError, NotFoundError, StoreError: As :meth:`Store.pull` and :func:`verify`.
    """
    if not looks_like_reference(source):
        return verify(Path(source))
    reference = locate(source)
    return Store(reference.store).pull(reference, cache / reference.name / reference.digest)


def locate(source: str) -> Reference:
    """The reference that a text names, a channel resolved to what it points to now.

    Raises:
        ConfigurationError, NotFoundError, StoreError: As :meth:`Store.resolve`.
    """
    reference = parse_reference(source)
    return Store(reference.store).resolve(reference) if isinstance(reference, ChannelReference) else reference


def _channel_path(name: str, channel: str, number: int) -> str:
    return f"{name}/channels/{channel}/{number}.json"

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Objects: bytes under paths, in a local folder or in object storage.

The library ``obstore`` does the transport. This module translates its failures into the few errors that a
caller can handle. It does not interpret the bytes and does not decide whether to trust them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError
from obstore.exceptions import NotFoundError as ObjectNotFoundError
from obstore.store import ObjectStore, S3Store, from_url

from tidegate.errors import AccessDeniedError, BundleError, ConfigurationError, NotFoundError, StoreError
from tidegate.reference import SCHEMES

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig  # exist for type checkers only

_RETRIES: "RetryConfig" = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}


class Objects:
    """The objects below one URI. It connects at the first read or write.

    Args:
        uri: ``file:///folder``, ``s3://bucket/prefix``, ``gs://…``, ``az://…``, or a folder's path.

    Raises:
        ConfigurationError: If the URI has an unknown scheme.
    """

    def __init__(self, uri: str) -> None:
        if "://" not in uri:
            uri = Path(uri).resolve().as_uri()
        self.uri = uri.rstrip("/")
        self._folder = _local_folder(self.uri)
        self._connection: ObjectStore | None = None

    @property
    def _store(self) -> ObjectStore:
        if self._connection is None:
            self._connection = _connect(self.uri)
        return self._connection

    def read(self, path: str, max_bytes: int | None, label: str) -> bytes:
        """Read an object.

        Args:
            path: The object's path.
            max_bytes: The maximum size; None for no limit.
            label: The object's name in error messages.

        Raises:
            BundleError: If the object is larger.
            NotFoundError: If the object does not exist.
            StoreError: If the store is unreachable or fails.
        """
        try:
            with self._translate_errors(f"reading {label}"):
                result = obstore.get(self._store, path)
                size = result.meta["size"]
                if max_bytes is not None and size > max_bytes:
                    raise BundleError(f"{label} has {size} bytes, where at most {max_bytes} are expected.")
                return bytes(result.bytes())
        except FileNotFoundError:
            raise NotFoundError(f"The store {self.uri} does not hold {label}.") from None

    def download(self, path: str, file: Path, size: int, label: str) -> None:
        """Write an object's content to a local file.

        Args:
            path: The object's path.
            file: The local file.
            size: The expected size in bytes.
            label: The object's name in error messages.

        Raises:
            BundleError: If the object does not exist, or has another size.
            StoreError: If the store is unreachable or fails.
        """
        file.parent.mkdir(exist_ok=True)
        received = 0
        try:
            with self._translate_errors(f"reading {label}"), file.open("wb") as sink:
                for chunk in obstore.get(self._store, path).stream():
                    received += len(chunk)
                    if received > size:
                        break  # the object differs from the manifest: do not fill the disk with it
                    sink.write(chunk)
        except FileNotFoundError:
            raise BundleError(f"The bundle is damaged: {label} is missing in the store.") from None
        if received != size:
            actual = f"more than {size}" if received > size else str(received)
            raise BundleError(f"The bundle is damaged: {label} should have {size} bytes and has {actual}.")

    def write(self, path: str, content: bytes | Path, mode: Literal["overwrite", "create"]) -> None:
        """Store bytes, or a local file's bytes, as an object.

        Args:
            path: The object's path.
            content: The bytes, or the file.
            mode: Whether to replace an object of this path, or to fail if there is one.

        Raises:
            FileExistsError: If the mode is "create" and the object exists.
            StoreError: If the store is unreachable or fails.
        """
        try:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The store {self.uri} cannot be created: {error.strerror}; choose another folder."
            ) from None
        try:
            with self._translate_errors(f"writing {path}"):
                obstore.put(self._store, path, content, mode=mode)
        except FileNotFoundError:
            raise StoreError(
                f"The store {self.uri} does not exist: create its bucket, or correct the URI."
            ) from None

    def paths(self, folder: str) -> Iterator[str]:
        """List the paths of all objects below a folder, in no particular order.

        Args:
            folder: The folder's path, with a slash at its end.

        Raises:
            StoreError: If the store is unreachable or fails.
        """
        with self._translate_errors(f"listing {self.uri}/{folder}"):
            for page in obstore.list(self._store, folder):
                yield from (entry["path"] for entry in page)

    @contextmanager
    def _translate_errors(self, action: str) -> Iterator[None]:
        """Raise the library's errors as FileNotFoundError, FileExistsError or StoreError."""
        try:
            yield
        except (FileNotFoundError, ObjectNotFoundError):
            raise FileNotFoundError(action) from None
        except (FileExistsError, AlreadyExistsError):
            raise FileExistsError(action) from None
        except (BaseError, OSError) as error:
            kind = AccessDeniedError if isinstance(error, PermissionDeniedError) else StoreError
            raise kind(
                f"The store {self.uri} failed while {action}: {str(error).splitlines()[0]}; check that it is "
                "reachable and that the environment has valid credentials."
            ) from None


def read_object(uri: str) -> bytes:
    """Read one object or file outside of any bundle, such as ``s3://data/loans.csv``.

    Raises:
        ConfigurationError: If the URI has an unknown scheme.
        NotFoundError: If the object does not exist.
        StoreError: If the store is unreachable or fails.
    """
    store, _, key = uri.rpartition("/")
    return Objects(store).read(key, None, uri)


def _local_folder(uri: str) -> Path | None:
    """Return the folder of a ``file://`` store; None for object storage.

    Raises:
        ConfigurationError: If the scheme is unknown, or the folder's path is not absolute.
    """
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES:
        raise ConfigurationError(
            f"'{uri}' is not a store: expected one of {', '.join(f'{known}://' for known in SCHEMES)}."
        )
    if scheme != "file":
        return None
    if not rest.startswith("/"):
        raise ConfigurationError(f"'{uri}' is not a store: expected file:///… with an absolute path.")
    return Path(unquote(rest))


def _connect(uri: str) -> ObjectStore:
    try:
        if uri.startswith("file://"):
            return from_url(uri)
        options: ClientConfig = {"allow_http": os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")}
        if uri.startswith("s3://"):
            return S3Store.from_url(uri, client_options=options, retry_config=_RETRIES)
        return from_url(uri, retry_config=_RETRIES)
    except (BaseError, OSError, ValueError) as error:
        raise StoreError(f"The store {uri} cannot be opened: {str(error).splitlines()[0]}.") from None

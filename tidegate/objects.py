# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Objects: bytes under paths, in a folder or in object storage.

One library does all kinds; here its failures become the few that a caller can act on. What the bytes mean,
and which of them may be trusted, is the caller's business.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.exceptions import NotFoundError as ObjectNotFoundError
from obstore.store import ObjectStore, S3Store, from_url

from tidegate.errors import BundleError, ConfigurationError, NotFoundError, StoreError
from tidegate.reference import SCHEMES

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig  # exist for type checkers only

_RETRIES: "RetryConfig" = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}


class Objects:
    """The objects below one address. Nothing is connected before the first is asked for.

    Args:
        uri: ``file:///folder``, ``s3://bucket/prefix``, ``gs://…``, ``az://…``, or a folder's path.

    Raises:
        ConfigurationError: The URI is of no known kind.
    """

    def __init__(self, uri: str) -> None:
        if "://" not in uri:
            uri = Path(uri).resolve().as_uri()
        self.uri = uri.rstrip("/")
        self._folder = _folder(self.uri)
        self._connected: ObjectStore | None = None

    @property
    def _store(self) -> ObjectStore:
        if self._connected is None:
            self._connected = _connect(self.uri)
        return self._connected

    def read(self, path: str, limit: int | None, what: str) -> bytes:
        """The content of an object.

        Args:
            path: Where it is.
            limit: How many bytes it may have.
            what: What it is, for sentences.

        Raises:
            BundleError: It has more bytes.
            NotFoundError: There is none.
            StoreError: The store does not answer.
        """
        try:
            with self._talking(f"reading {what}"):
                answer = obstore.get(self._store, path)
                if limit is not None and answer.meta["size"] > limit:
                    raise BundleError(
                        f"{what} has {answer.meta['size']} bytes, where at most {limit} are expected."
                    )
                return bytes(answer.bytes())
        except FileNotFoundError:
            raise NotFoundError(f"The store {self.uri} does not hold {what}.") from None

    def download(self, path: str, file: Path, size: int, what: str) -> None:
        """Write the content of an object, which must have this size in bytes, to a file.

        Raises:
            BundleError: There is none, or it has another size.
            StoreError: The store does not answer.
        """
        file.parent.mkdir(exist_ok=True)
        received = 0
        try:
            with self._talking(f"reading {what}"), file.open("wb") as sink:
                for chunk in obstore.get(self._store, path).stream():
                    received += len(chunk)
                    if received > size:
                        break  # not the file of the manifest: do not fill the disk with it
                    sink.write(chunk)
        except FileNotFoundError:
            raise BundleError(f"The bundle is damaged: {what} is missing in the store.") from None
        if received != size:
            raise BundleError(
                f"The bundle is damaged: {what} should have {size} bytes and has another number."
            )

    def write(self, path: str, content: bytes | Path, mode: Literal["overwrite", "create"]) -> None:
        """Store bytes, or a file's, in place of what is there, or only where there is nothing yet.

        Raises:
            FileExistsError: To be created, and there already.
            StoreError: The store does not take it.
        """
        try:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The store {self.uri} cannot be made: {error.strerror}; name another folder."
            ) from None
        try:
            with self._talking(f"writing {path}"):
                obstore.put(self._store, path, content, mode=mode)
        except FileNotFoundError:
            raise StoreError(f"The store {self.uri} is not there: make its bucket, or correct it.") from None

    def paths(self, folder: str) -> Iterator[str]:
        """The paths of all objects below a folder, which ends in a slash, in no order.

        Raises:
            StoreError: The store does not answer.
        """
        with self._talking(f"listing {self.uri}/{folder}"):
            for page in obstore.list(self._store, folder):
                yield from (entry["path"] for entry in page)

    @contextmanager
    def _talking(self, doing: str) -> Iterator[None]:
        """Turn what the library raises into the few errors that a caller can act on."""
        try:
            yield
        except (FileNotFoundError, ObjectNotFoundError):
            raise FileNotFoundError(doing) from None
        except (FileExistsError, AlreadyExistsError):
            raise FileExistsError(doing) from None
        except (BaseError, OSError) as error:
            raise StoreError(
                f"The store {self.uri} failed while {doing}: {str(error).splitlines()[0]}; check that it "
                "is up and that the credentials in the environment are right."
            ) from None


def read_object(address: str) -> bytes:
    """The content of one object or file that is no bundle, such as ``s3://data/loans.csv``.

    Raises:
        ConfigurationError: The address is none.
        NotFoundError: The store holds no such object.
        StoreError: The store does not answer.
    """
    store, _, key = address.rpartition("/")
    return Objects(store).read(key, None, address)


def _folder(uri: str) -> Path | None:
    """The folder of a ``file://`` store; None for object storage.

    Raises:
        ConfigurationError: The URI is of no known kind, or a folder that is not absolute.
    """
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES:
        raise ConfigurationError(
            f"'{uri}' is no store: expected one of {', '.join(f'{known}://' for known in SCHEMES)}."
        )
    if scheme != "file":
        return None
    if not rest.startswith("/"):
        raise ConfigurationError(f"'{uri}' is no store: expected file:///… with an absolute path.")
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

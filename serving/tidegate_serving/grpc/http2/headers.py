# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The heads of a connection's requests: header blocks, decoded and checked as HTTP/2 demands.

Clients repeat themselves: the same block, or the same names with another timeout. A block that has not
changed the dynamic table is therefore decoded once, and an order of names is checked once. The meaning of
the fields is the application's.
"""

import re
from collections.abc import Iterable, Mapping

from tidegate_serving.grpc.http2.hpack import OVERHEAD_BYTES, Decoder, Field

MAX_HEADER_BYTES = 16_384
"""The largest sum of a request's header fields, as gRPC's server has it, and as REST accepts in a head."""

_MAX_CACHED_BLOCKS = 64
_MAX_CACHED_NAMES = 256
"""The caches' sizes, so that a client cannot fill the memory with blocks or names that vary."""

_REQUIRED = frozenset((":method", ":scheme", ":path"))
_PSEUDO = _REQUIRED | {":authority"}
_CONNECTION_SPECIFIC = frozenset(
    ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")
)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_INVALID_VALUE = re.compile(r"[\0\r\n]")

Headers = Mapping[str, str]
"""Header fields by name; of a name that occurs twice, the last value."""


class HeadersTooLargeError(Exception):
    """Header fields that are larger together than the server allows."""


class MalformedHeadersError(Exception):
    """Header fields that HTTP/2 does not allow, from RFC 9113, sections 8.1.1 to 8.3.

    Spaces around a value are allowed, as gRPC allows them: its clients send metadata as they are.
    """


class RequestHeads:
    """The decoder of the heads of one connection, in their order."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._blocks: dict[bytes, Headers] = {}
        """Heads by their blocks, since the dynamic table's last change."""

    def decode(self, block: bytes) -> Headers:
        """Return the header fields of a request.

        Raises:
            HpackError: If the block cannot be decoded.
            HeadersTooLargeError: If the fields are too large.
            MalformedHeadersError: If HTTP/2 does not allow these fields.
        """
        headers = self._blocks.get(block)
        if headers is not None:
            return headers
        changes = self._decoder.table_changes
        try:
            headers = parse_request_headers(self._decoder.decode(block))
        finally:  # a block that is rejected has changed the table, too
            changed = changes != self._decoder.table_changes
            if changed:
                self._blocks.clear()
        if not changed and len(self._blocks) < _MAX_CACHED_BLOCKS:
            self._blocks[block] = headers
        return headers

    def decode_trailers(self, block: bytes) -> None:
        """Decode the fields after a request's body, which gRPC does not use.

        Raises:
            HpackError: If the block cannot be decoded.
            HeadersTooLargeError: If the fields are too large.
            MalformedHeadersError: If HTTP/2 does not allow these fields.
        """
        self._blocks.clear()
        fields = self._decoder.decode(block)
        _check_size(fields)
        for name, value in fields:
            _check_name(name)
            _check_value(name, value)


_valid_names: dict[tuple[str, ...], int] = {}
"""Orders of different names that are valid, and their bytes with the overhead of their fields."""


def parse_request_headers(fields: list[Field]) -> Headers:
    """Return the fields of a request's head by name.

    Raises:
        HeadersTooLargeError: If they are too large.
        MalformedHeadersError: If HTTP/2 does not allow them.
    """
    headers = dict(fields)
    names = tuple(headers)
    name_bytes = _valid_names.get(names) if len(names) == len(fields) else None
    if name_bytes is None:
        _check_size(fields)
        _check_names([name for name, _ in fields])
        if len(names) == len(fields) and len(_valid_names) < _MAX_CACHED_NAMES:
            _valid_names[names] = len("".join(names)) + len(names) * OVERHEAD_BYTES
        plain = False
    else:  # one look at all values, because nearly all are plain
        values = "".join(headers.values())
        if name_bytes + len(values) > MAX_HEADER_BYTES:
            raise HeadersTooLargeError
        plain = values.isprintable()
    if not plain:
        for name, value in fields:
            _check_value(name, value)
    if headers.get("te", "trailers") != "trailers":
        raise MalformedHeadersError("te: expected trailers")
    if not headers[":path"]:
        raise MalformedHeadersError(":path: expected a path")
    return headers


def _check_size(fields: list[Field]) -> None:
    size = 0
    for name, value in fields:
        size += len(name) + len(value) + OVERHEAD_BYTES
        if size > MAX_HEADER_BYTES:
            raise HeadersTooLargeError


def _check_names(names: Iterable[str]) -> None:
    """Check the names of a request's head: pseudo-headers first, and each of them once."""
    pseudo: set[str] = set()
    regular = False
    for name in names:
        if not name.startswith(":"):
            regular = True
            _check_name(name)
        elif regular or name in pseudo or name not in _PSEUDO:
            raise MalformedHeadersError(f"{name}: expected each pseudo-header once and before other fields")
        else:
            pseudo.add(name)
    if not pseudo >= _REQUIRED:
        raise MalformedHeadersError("expected :method, :scheme and :path")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in _CONNECTION_SPECIFIC:
        raise MalformedHeadersError(f"{name:.60}: expected the lower-case name of a field of HTTP/2")


def _check_value(name: str, value: str) -> None:
    if _INVALID_VALUE.search(value):
        raise MalformedHeadersError(f"{name}: expected a value without line breaks and NUL")

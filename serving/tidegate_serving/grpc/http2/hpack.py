# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""HPACK: a connection's decoder of header blocks, and the encoding of the blocks that a server sends.

Clients in Go and proxies such as Envoy send a new ``grpc-timeout`` or ``x-request-id`` in each call, and add
it to the dynamic table. So each block of theirs has other bytes than the block before it, and decoding is a
measurable part of a small call. This decoder is several times faster than that of the package ``hpack``,
which is the oracle of its tests.

Blocks that the server sends do not use the dynamic table. Most of them are therefore constants.
"""

from collections.abc import Iterable

from tidegate_serving.grpc.http2 import huffman

Field = tuple[str, str]
"""The name and the value of a header field, as Latin-1."""

TABLE_BYTES = 4096
"""The largest dynamic table that the server allows, which is HTTP/2's default."""

EMPTY_TABLE = b"\x20"
"""The beginning of a header block that announces a dynamic table of 0 bytes (RFC 7541, section 6.3)."""

OVERHEAD_BYTES = 32
"""The bytes that each entry of a table counts in addition to its name and value (RFC 7541, section 4.1)."""

_MAX_INTEGER_BYTES = 5
"""Most bytes of an integer after its prefix; they hold any length that a block can have."""

STATIC_TABLE: tuple[Field, ...] = (
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
)
"""RFC 7541, appendix A. The first entry has the index 1."""

_STATIC_FIELDS = len(STATIC_TABLE)
_LAST_STATIC_BYTE = 0x80 | _STATIC_FIELDS
"""The byte that stands for the last field of the static table."""


class HpackError(Exception):
    """A block that cannot be decoded, after which no block of the connection can."""


class Decoder:
    """The decoder of the blocks of one connection, in their order."""

    def __init__(self) -> None:
        self._entries: list[Field] = []
        """The dynamic table, the newest entry last."""
        self._table_bytes = 0
        self._max_table_bytes = TABLE_BYTES
        self.table_changes = 0
        """How often a block has changed the table. A block means the same until the next change."""

    def decode(self, block: bytes) -> list[Field]:
        """Return the fields of a block.

        Raises:
            HpackError: If the block is not valid.
        """
        try:
            return self._decode(block)
        except (IndexError, huffman.HuffmanError) as error:
            raise HpackError(f"header block: {error}") from None

    def _decode(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        append, entries = fields.append, self._entries
        position, end = 0, len(block)
        while position < end:
            byte = block[position]
            position += 1
            if byte > _LAST_STATIC_BYTE:  # a field of the dynamic table
                if byte == 0xFF:
                    index, position = _read_integer(block, position, 0x7F)
                    append(entries[_STATIC_FIELDS - index])
                else:
                    append(entries[_LAST_STATIC_BYTE - byte])
            elif byte > 0x80:  # a field of the static table
                append(STATIC_TABLE[byte - 0x81])
            elif byte == 0x80:
                raise HpackError("header block: expected an index of at least 1, received 0")
            elif byte & 0xE0 == 0x20:  # a change of the table's size
                size, position = _read_prefixed(block, position, byte, 0x1F)
                if fields:
                    raise HpackError("header block: expected sizes of the table at its beginning only")
                self._resize(size)
            else:  # a literal, which is added to the table if its second bit is set
                index, position = _read_prefixed(block, position, byte, 0x3F if byte & 0x40 else 0x0F)
                if index > _STATIC_FIELDS:
                    name = entries[_STATIC_FIELDS - index][0]
                elif index:
                    name = STATIC_TABLE[index - 1][0]
                else:
                    name, position = _read_text(block, position)
                value, position = _read_text(block, position)
                field = name, value
                append(field)
                if byte & 0x40:
                    self._add(field)
        return fields

    def _add(self, field: Field) -> None:
        self.table_changes += 1
        size = len(field[0]) + len(field[1]) + OVERHEAD_BYTES
        self._evict(self._max_table_bytes - size)
        if size <= self._max_table_bytes:
            self._entries.append(field)
            self._table_bytes += size

    def _resize(self, max_table_bytes: int) -> None:
        if max_table_bytes > TABLE_BYTES:
            raise HpackError(
                f"header block: expected a table of at most {TABLE_BYTES} bytes, received {max_table_bytes}"
            )
        self.table_changes += 1
        self._max_table_bytes = max_table_bytes
        self._evict(max_table_bytes)

    def _evict(self, max_table_bytes: int) -> None:
        """Remove the oldest entries until the others have at most so many bytes."""
        entries, table_bytes = self._entries, self._table_bytes
        if table_bytes <= max_table_bytes:
            return
        count = 0
        while count < len(entries) and table_bytes > max_table_bytes:
            name, value = entries[count]
            table_bytes -= len(name) + len(value) + OVERHEAD_BYTES
            count += 1
        del entries[:count]
        self._table_bytes = table_bytes


def _read_prefixed(block: bytes, position: int, byte: int, mask: int) -> tuple[int, int]:
    """Read an integer whose prefix is in a byte that is read already.

    Returns:
        The integer, and the position after it.
    """
    prefix = byte & mask
    return _read_integer(block, position, prefix) if prefix == mask else (prefix, position)


def _read_integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """Read the rest of an integer whose prefix is full (RFC 7541, section 5.1)."""
    for shift in range(0, 7 * _MAX_INTEGER_BYTES, 7):
        byte = block[position]
        position += 1
        prefix += (byte & 0x7F) << shift
        if byte < 0x80:
            return prefix, position
    raise HpackError(f"header block: expected an integer of at most {_MAX_INTEGER_BYTES} bytes")


def _read_text(block: bytes, position: int) -> tuple[str, int]:
    byte = block[position]
    length, position = _read_prefixed(block, position + 1, byte, 0x7F)
    stop = position + length
    if stop > len(block):
        raise HpackError(f"header block: expected a text of {length} bytes, received {len(block) - position}")
    content = block[position:stop]
    if byte & 0x80:
        content = huffman.decode(content)
    return content.decode("latin-1"), stop


def encode(fields: Iterable[Field]) -> bytes:
    """Encode fields without the dynamic table and without the Huffman code."""
    return b"".join(map(_encode_field, fields))


def _encode_field(field: Field) -> bytes:
    if field[1] and field in STATIC_TABLE:
        return bytes([0x80 | STATIC_TABLE.index(field) + 1])
    name, value = field
    index = next((number for number, entry in enumerate(STATIC_TABLE, 1) if entry[0] == name), 0)
    named = _encode_integer(index, 0x0F) + (b"" if index else _encode_text(name))
    return named + _encode_text(value)


def _encode_text(text: str) -> bytes:
    content = text.encode("latin-1")
    return _encode_integer(len(content), 0x7F) + content


def _encode_integer(value: int, mask: int) -> bytes:
    if value < mask:
        return bytes([value])
    content, value = bytearray([mask]), value - mask
    while value >= 0x80:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    content.append(value)
    return bytes(content)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_serving.grpc.http2.hpack import (
    STATIC_TABLE,
    TABLE_BYTES,
    Decoder,
    Field,
    HpackError,
    encode,
)

LARGE = 1 << 20

texts = st.text(st.characters(max_codepoint=255), max_size=40)
fields = st.one_of(
    st.sampled_from(STATIC_TABLE),
    st.tuples(st.sampled_from(["grpc-timeout", ":path", "x-request-id", "user-agent"]), texts),
    st.tuples(texts.filter(bool), st.text(st.characters(max_codepoint=127), max_size=3_000)),
)
blocks = st.lists(fields, max_size=8)


def oracle_fields(decoder: hpack.Decoder, block: bytes) -> list[Field]:
    return [
        (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
        for name, value in decoder.decode(block, raw=True)
    ]


@given(
    st.lists(st.tuples(blocks, st.booleans(), st.sampled_from([None, None, 0, 100, TABLE_BYTES])), max_size=6)
)
def test_decoder_reads_what_another_encoder_writes(
    sequence: list[tuple[list[Field], bool, int | None]],
) -> None:
    encoder, decoder = hpack.Encoder(), Decoder()
    for content, huffman, table_bytes in sequence:
        if table_bytes is not None:
            encoder.header_table_size = table_bytes
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in content]
        assert decoder.decode(encoder.encode(raw, huffman=huffman)) == content


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_decoder_arbitrary_blocks_are_as_with_another_decoder(sequence: list[bytes]) -> None:
    oracle, decoder = hpack.Decoder(max_header_list_size=LARGE), Decoder()
    oracle.max_allowed_table_size = TABLE_BYTES
    for block in sequence:
        try:
            expected = oracle_fields(oracle, block)
        except hpack.HPACKError:
            with pytest.raises(HpackError):
                decoder.decode(block)
            return
        assert decoder.decode(block) == expected


@given(blocks)
def test_encode_is_read_by_another_decoder(content: list[Field]) -> None:
    assert oracle_fields(hpack.Decoder(max_header_list_size=LARGE), encode(content)) == content


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # an empty dynamic table
        b"\x40\x05abc",  # a text that ends early
        b"\x00",
        b"\xff\xff\xff\xff\xff\xff\x01",  # a long integer
        b"\x3f\xe2\x1f",  # a table of 4097 bytes
        b"\x82\x20",  # a table's size after a field
    ],
)
def test_decoder_invalid_block_raises(block: bytes) -> None:
    with pytest.raises(HpackError):
        Decoder().decode(block)


def test_decoder_counts_changes_of_the_table() -> None:
    decoder = Decoder()
    decoder.decode(b"\x82\x00\x01a\x01b")
    assert decoder.table_changes == 0
    decoder.decode(b"\x40\x01a\x01b")
    decoder.decode(b"\x20")
    assert decoder.table_changes == 2

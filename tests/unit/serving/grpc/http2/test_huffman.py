# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given
from hypothesis import strategies as st

from tidegate_serving.grpc.http2.huffman import HuffmanError, decode

ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@given(st.binary(max_size=200))
def test_decode_reads_what_another_encoder_writes(text: bytes) -> None:
    assert decode(ENCODER.encode(text)) == text


@given(st.binary(max_size=20))
def test_decode_arbitrary_bytes_is_as_another_decoder(content: bytes) -> None:
    try:
        expected = decode_huffman(content)
    except HPACKDecodingError:
        with pytest.raises(HuffmanError):
            decode(content)
    else:
        assert decode(content) == expected


@pytest.mark.parametrize("content", [b"\xff", b"\x07\xff", b"\x00\x00", b"\xff\xff\xff\xff"])
def test_decode_wrong_padding_or_eos_raises(content: bytes) -> None:
    with pytest.raises(HuffmanError, match="expected"):
        decode(content)

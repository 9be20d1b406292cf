# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Huffman code of HPACK, decoded byte by byte.

The code is canonical, so the lengths of RFC 7541, appendix B, define it. A decoder that reads whole bytes has
one state per inner node of the code's tree, which are 256, and therefore at most 65,536 transitions. A
transition is computed when it is first needed, because header fields are texts of few different characters.
"""

_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606"
    "0505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817"
    "181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
"""The bits of each symbol's code. The last symbol is EOS, which no text has."""

_EOS = 256
_MAX_PADDING_BITS = 7


class HuffmanError(Exception):
    """Bytes that are not the code of a text."""


def _build_tree() -> tuple[list[list[int]], list[bool]]:
    """Return the children of each inner node, and whether a text may end in it.

    A child is an inner node, or a symbol as its complement. A text may end in a node whose path from the root
    consists of up to seven ones, because the padding is a prefix of EOS (section 5.2).
    """
    nodes: list[list[int]] = [[0, 0]]
    code, length = 0, 0
    for symbol in sorted(range(len(_LENGTHS)), key=lambda each: (_LENGTHS[each], each)):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        node = 0
        for position in range(length - 1, 0, -1):
            bit = code >> position & 1
            if not nodes[node][bit]:
                nodes.append([0, 0])
                nodes[node][bit] = len(nodes) - 1
            node = nodes[node][bit]
        nodes[node][code & 1] = ~symbol
        code += 1
    may_end = [False] * len(nodes)
    node = 0
    for _ in range(_MAX_PADDING_BITS + 1):
        may_end[node] = True
        node = nodes[node][1]
    return nodes, may_end


_TREE, _MAY_END = _build_tree()


class _Transitions(dict[int, tuple[int, bytes]]):
    """By state and byte, the next state, shifted for the next byte, and the text that ends in the byte."""

    def __missing__(self, key: int) -> tuple[int, bytes]:
        node, byte = key >> 8, key & 0xFF
        text = bytearray()
        for position in range(7, -1, -1):
            node = _TREE[node][byte >> position & 1]
            if node < 0:
                if ~node == _EOS:
                    raise HuffmanError("expected a text, received the symbol EOS")
                text.append(~node)
                node = 0
        self[key] = transition = node << 8, bytes(text)
        return transition


_TRANSITIONS = _Transitions()


def decode(content: bytes) -> bytes:
    """Decode a text.

    Raises:
        HuffmanError: If the bytes contain EOS or end with another padding than ones, or with too much.
    """
    state = 0
    text = b""
    for byte in content:
        state, decoded = _TRANSITIONS[state | byte]
        text += decoded
    if not _MAY_END[state >> 8]:
        raise HuffmanError("expected at most seven ones as padding, received other bits")
    return text

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Canonical JSON and SHA-256: the digests that name content.

It computes and compares digests. Whether a digest can be trusted is decided elsewhere.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tidegate.errors import ConfigurationError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> bytes:
    """Serialise a value to the one byte string that every process writes for it.

    Keys are sorted, there is no optional whitespace, and text is UTF-8. Floats have Python's shortest form
    that parses to the same float. NaN and infinity are rejected because JSON has neither.

    Raises:
        ValueError: If the value contains NaN or infinity.
        TypeError: If the value contains a type that JSON does not have.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def is_sha256(text: str) -> bool:
    """Return whether a text is a SHA-256 in lower-case hexadecimal digits."""
    return _SHA256.fullmatch(text) is not None


def parse_digest(text: str) -> str:
    """Parse a digest that has the prefix ``sha256:`` or none, and return it without prefix.

    >>> parse_digest("sha256:" + "0" * 64) == parse_digest("0" * 64) == "0" * 64
    True

    Raises:
        ConfigurationError: If the text is not a digest.
    """
    digits = text.removeprefix("sha256:")
    if not is_sha256(digits):
        raise ConfigurationError(
            f"'{text}' is not a digest: expected 64 hexadecimal digits in lower case, with or without the "
            "prefix 'sha256:'."
        )
    return digits


def sha256(content: bytes) -> str:
    """Compute the SHA-256 of bytes, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Compute the SHA-256 of a file in chunks, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Canonical JSON and SHA-256: how content gets its name.

It names content and compares names; it does not say whether a name may be trusted.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tidegate.errors import ConfigurationError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


def canonical_json(value: Any) -> bytes:
    """Serialise to the one byte string that every process writes for this value.

    Keys are sorted, no space is added, text is UTF-8, floats are Python's shortest form that reads back
    the same, and NaN and infinity are refused, as JSON has none.

    Raises:
        ValueError: The value holds NaN, infinity or something that JSON cannot say.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def is_sha256(text: str) -> bool:
    """Whether the text is a SHA-256 in lower-case hexadecimal, as bundles are named."""
    return _SHA256.fullmatch(text) is not None


def parse_digest(text: str) -> str:
    """The bare digits of a digest, written with ``sha256:`` in front as it is printed, or without.

    >>> parse_digest("sha256:" + "0" * 64) == parse_digest("0" * 64) == "0" * 64
    True

    Raises:
        ConfigurationError: It is no digest.
    """
    digits = text.removeprefix("sha256:")
    if not is_sha256(digits):
        raise ConfigurationError(
            f"'{text}' is no digest: expected 64 hexadecimal digits in lower case, with or without 'sha256:'."
        )
    return digits


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    running = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            running.update(chunk)
    return running.hexdigest()

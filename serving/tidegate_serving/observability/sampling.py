# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The selection of sampled requests: the hash of a request's id decides.

Servers with one rate select the same requests, and a request that is sent again is selected again.
"""

from hashlib import blake2b

MAX_REQUEST_ROWS = 16
"""Rows of a request that are sampled, from its first row on."""

_SELECTING_BYTES = 8
_IDS = 1 << 8 * _SELECTING_BYTES


class RequestSampler:
    """Selects a fraction of the requests that have an id.

    Args:
        rate: The fraction.
    """

    def __init__(self, rate: float) -> None:
        self._bound = rate * _IDS

    def select(self, request_id: str | None) -> bytes | None:
        """Return the hash of the id, or None if the request has none or is not selected."""
        if not request_id:
            return None
        digest = blake2b(request_id.encode()).digest()
        return digest if int.from_bytes(digest[:_SELECTING_BYTES]) < self._bound else None

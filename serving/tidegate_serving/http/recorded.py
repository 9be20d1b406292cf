# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The fast path with a recorder: each request has a context, and each response the request's id.

It is a class of its own, so that a server without a recorder pays nothing for it.
"""

from collections.abc import Sequence

from tidegate_serving.http.fastpath import FastPathProtocol
from tidegate_serving.http.head import RequestHead
from tidegate_serving.request_context import REQUEST_ID_HEADER, RequestContext


class RecordedFastPathProtocol(FastPathProtocol):
    """A connection whose requests have a context."""

    def _submit(self, head: RequestHead, data: bytes, body_start: int, rest: Sequence[bytes] = ()) -> None:
        self.context = RequestContext.of(head.recorded, self.client[0] if self.client else "")
        super()._submit(head, data, body_start, rest)

    def send_response(
        self, protocol: str, status: int, lines: bytes, body: bytes, rows: int, arrived_at: float
    ) -> None:
        """Send a response with the request's id.

        Args:
            protocol: The request's protocol, for the metrics.
            status: The status code.
            lines: The header lines in addition to the default headers and the body's length.
            body: The body.
            rows: The request's rows, for the metrics.
            arrived_at: The time of the request's last byte.
        """
        assert self.context is not None
        lines += f"{REQUEST_ID_HEADER.lower()}: {self.context.request_id}\r\n".encode()
        super().send_response(protocol, status, lines, body, rows, arrived_at)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Calls without a transport, and the request of the service's stub."""

import asyncio
from collections.abc import Mapping

from tidegate_serving._kserve import pb
from tidegate_serving.errors import RequestError


class FakeCall:
    """A call whose transport is the test.

    Args:
        deadline: The time until which the client waits.
        metadata: The client's metadata.
    """

    def __init__(self, deadline: float | None = None, metadata: Mapping[str, str] | None = None) -> None:
        self.deadline = deadline
        self.metadata = metadata or {}
        self.client = "192.0.2.1"
        self.trailing_metadata: tuple[tuple[str, str], ...] = ()
        self.connected = True
        self._outcome: asyncio.Future[bytes | RequestError] | None = None
        self.outcomes: list[bytes | RequestError] = []

    def respond(self, message: bytes) -> bool:
        return self._end(message)

    def reject(self, error: RequestError) -> bool:
        return self._end(error)

    def _end(self, outcome: bytes | RequestError) -> bool:
        self.outcomes.append(outcome)
        if self._outcome is not None:
            self._outcome.set_result(outcome)
        return self.connected

    async def outcome(self) -> bytes | RequestError:
        """Wait for the response."""
        if not self.outcomes:
            self._outcome = asyncio.get_running_loop().create_future()
            await self._outcome
        (outcome,) = self.outcomes
        return outcome


def infer_request(*values: float) -> bytes:
    """A serialized request of the stub's model, with one row per value."""
    message = pb.ModelInferRequest(model_name="test", id="7")
    entry = message.inputs.add(name="x", datatype="FP32", shape=[len(values), 2])
    entry.contents.fp32_contents.extend(value for each in values for value in (each, 0.5))
    return bytes(message.SerializeToString())

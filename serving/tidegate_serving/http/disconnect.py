# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Disconnects on the application's path: the call for a client that has disconnected is cancelled.

uvicorn lets an application run on, and only sends it a message.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def cancel_on_disconnect(request: Request, call: Awaitable[T]) -> T:
    """Await a call, and cancel it if the client disconnects.

    Args:
        request: The request, whose body is read: after it, ASGI has no other message than the disconnect.
        call: The call.

    Raises:
        ClientDisconnect: If the client disconnects.
    """
    task = asyncio.current_task()
    assert task is not None
    watcher = asyncio.create_task(_watch(request, task))
    try:
        return await call
    except asyncio.CancelledError:
        if watcher.done() and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        watcher.cancel()


async def _watch(request: Request, task: "asyncio.Task[object]") -> None:
    """Cancel a task when the client disconnects."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    task.cancel()

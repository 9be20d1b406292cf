# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Retry on connect: repeat a request only while no connection has carried it to the server.

Once a server has received a request, its response counts, whatever its status.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

CONNECT_PAUSES_SECONDS = (0.5, 1.0, 2.0)
"""The pauses between attempts, because a new pod may not resolve a name or reach an address at once."""


def retry_connect(
    call: Callable[[], T],
    retryable: Callable[[Exception], bool],
    *,
    pauses: Iterable[float] = CONNECT_PAUSES_SECONDS,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """Call a function until it connects; the last attempt's error is raised.

    Args:
        call: Sends the request and returns the response.
        retryable: Decides whether an error means that no connection was made.
        pauses: The seconds between attempts; there is one attempt more than pauses.
        sleep: Waits the given seconds.

    Returns:
        The first value that ``call`` returns.
    """
    for pause in pauses:
        try:
            return call()
        except Exception as error:
            if not retryable(error):
                raise
        sleep(pause)
    return call()


async def retry_connect_async(
    call: Callable[[], Awaitable[T]],
    retryable: Callable[[Exception], bool],
    *,
    pauses: Iterable[float] = CONNECT_PAUSES_SECONDS,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """Await a call until it connects; the last attempt's error is raised.

    Args:
        call: Sends the request and returns the response.
        retryable: Decides whether an error means that no connection was made.
        pauses: The seconds between attempts; there is one attempt more than pauses.
        sleep: Waits the given seconds.

    Returns:
        The first value that ``call`` returns.
    """
    for pause in pauses:
        try:
            return await call()
        except Exception as error:
            if not retryable(error):
                raise
        await sleep(pause)
    return await call()

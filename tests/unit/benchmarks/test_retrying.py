# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The clients against a server that this process runs, without a wait."""

import asyncio
from collections import Counter
from itertools import chain, repeat

import pytest

from benchmarks.retrying import REJECTED, RetryingClients

CONTENT = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


class StatusServer:
    """A server that returns the given statuses in order, then 200.

    Args:
        statuses: The first statuses.
        headers: Further header lines of every response.
    """

    def __init__(self, statuses=(), headers=b""):
        self.connections = 0
        self._tasks = []
        self._statuses = chain(statuses, repeat(200))
        self._headers = headers

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()

    async def __aexit__(self, *error):
        self._server.close()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader, writer):
        self.connections += 1
        self._tasks.append(asyncio.current_task())
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                status = next(self._statuses)
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n%b\r\n" % (status, self._headers))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()
            await writer.wait_closed()


def run_open_loop(server, starts, retries):
    async def run():
        async with server as address:
            clients = RetryingClients(address, CONTENT)
            await clients.open_loop(starts, retries)
            clients.close()
            return clients.completions

    return Counter(one.status for one in asyncio.run(run()))


def test_open_loop_sends_several_requests_per_rejection() -> None:
    server = StatusServer([REJECTED, 200, REJECTED])
    assert run_open_loop(server, [0.0] * 3, retries=3) == {REJECTED: 2, 200: 1 + 2 * 3}


@pytest.mark.parametrize("status", [200, 500, 503])
def test_open_loop_sends_once_without_a_rejection(status) -> None:
    assert run_open_loop(StatusServer([status]), [0.0], retries=3) == {status: 1}


def test_open_loop_keeps_connections_alive() -> None:
    server = StatusServer([REJECTED])
    run_open_loop(server, [0.0], retries=1)
    assert server.connections == 1


def test_open_loop_reconnects_after_connection_close() -> None:
    server = StatusServer([REJECTED], b"Connection: close\r\n")
    run_open_loop(server, [0.0], retries=1)
    assert server.connections == 2


def test_closed_loop_continues_after_rejections(monkeypatch) -> None:
    # Time is the number of responses, so that the loop ends without a clock.
    monkeypatch.setattr(RetryingClients, "now", property(lambda clients: len(clients.completions)))

    async def run():
        async with StatusServer([REJECTED] * 4) as address:
            clients = RetryingClients(address, CONTENT)
            await clients.closed_loop(1, until=6)
            clients.close()
            return [one.status for one in clients.completions]

    assert asyncio.run(run()) == [REJECTED] * 4 + [200] * 2

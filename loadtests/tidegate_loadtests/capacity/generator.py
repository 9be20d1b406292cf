# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The load generator of the capacity search: one process on a CPU of its own that sends window after window.

A Locust run has one schedule, fixed at its start, but a search chooses each rate after the previous window.
"""

import gc
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import ServerError, TidegateError
from tidegate.protocol.openloop import LAST_RESPONSE_SECONDS, OpenLoopClient, Outcome, Response

_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 3.0
_CLOCK_RESOLUTION_SECONDS = 1e-6
_MAX_CONNECTIONS = 4096
_OTHER_FILES = 256
"""Open files of a process in addition to its connections."""


def max_connections() -> int:
    """Return the most connections of a window: a bound, or what the limit of open files leaves."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(_MAX_CONNECTIONS, hard - _OTHER_FILES)


def raise_file_limit(pid: int) -> None:
    """Let a process open as many files, and so connections, as the system permits it."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """The load generator's requests and CPU."""

    address: tuple[str, int]
    contents: Sequence[bytes]
    """The bytes of the requests, which are sent in turn."""
    keep_every: int
    """Keep the response of every request whose number is a multiple of it."""
    cpu: int | None
    """The CPU that the process is pinned to."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The requests of one window."""

    starts: NDArray[np.float64]
    """Intended starts in seconds, ascending, ``[requests]``."""
    seconds: float
    connections: int
    """Limit of requests in flight."""
    response_seconds: float = LAST_RESPONSE_SECONDS
    """Time after the window in which responses still count."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The outcomes of one window's requests."""

    completed: NDArray[np.float64]
    """Time of the complete response, NaN without one, ``[requests]``."""
    statuses: NDArray[np.int64]
    """HTTP status; 0 without a response, ``[requests]``."""
    send_delays: NDArray[np.float64]
    """Seconds from the intended start until the request is sent or waits for a connection, ``[requests]``."""
    waited: NDArray[np.bool_]
    """Whether the request waited for a free connection, ``[requests]``."""
    cpu_seconds: float
    kept: dict[int, Response]
    """Kept responses by the request's number."""


class Generator:
    """A running load generator."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, arrivals: Arrivals) -> Sent:
        """Send a window's requests, and wait for the responses.

        Raises:
            ServerError: If the server accepts no connection.
            TidegateError: If the generator has ended.
        """
        try:
            self._connection.send(arrivals)
            limit = arrivals.seconds + arrivals.response_seconds + _START_TIMEOUT_SECONDS
            if not self._connection.poll(limit):
                raise TidegateError(f"The load generator did not end a window within {limit:.0f} s.")
            sent = self._connection.recv()
        except (EOFError, OSError):
            raise TidegateError("The load generator ended during a window: run the command again.") from None
        if isinstance(sent, Exception):
            raise ServerError(f"The load generator lost the server ({sent}): see the server's log.")
        result: Sent = sent
        return result


@contextmanager
def start_generator(config: GeneratorConfig) -> Iterator[Generator]:
    """Run a load generator while the block runs."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, config), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Generator(ours)
    finally:
        ours.close()  # which ends the process
        process.join(timeout=_STOP_TIMEOUT_SECONDS)
        process.kill()
        process.join()


def _serve(connection: Connection, config: GeneratorConfig) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    if config.cpu is not None:
        os.sched_setaffinity(0, {config.cpu})
    raise_file_limit(os.getpid())
    gc.disable()  # a collection would delay requests; nothing here has cycles
    with suppress(EOFError, BrokenPipeError):  # the parent has closed its end
        while True:
            connection.send(_try_window(config, connection.recv()))


def _try_window(config: GeneratorConfig, arrivals: Arrivals) -> Sent | Exception:
    try:
        return send_window(config, arrivals)
    except (OSError, ValueError) as error:
        return error


def _waited(outcome: Outcome, delay: float) -> bool:
    return outcome.sent is None or outcome.sent - outcome.intended_start - delay > _CLOCK_RESOLUTION_SECONDS


def send_window(config: GeneratorConfig, arrivals: Arrivals) -> Sent:
    """Send a window's requests over new connections.

    Raises:
        OSError: If the server accepts no connection.
        ValueError: If a response is not HTTP/1.1 with a length.
    """
    client = OpenLoopClient(config.address, config.contents, arrivals.connections, config.keep_every)
    try:
        outcomes, delays, cpu_seconds = client.run(
            arrivals.starts.tolist(), arrivals.seconds, arrivals.response_seconds
        )
    finally:
        client.close()
    return Sent(
        completed=np.array([np.nan if one.completed is None else one.completed for one in outcomes]),
        statuses=np.array([one.status or 0 for one in outcomes]),
        send_delays=np.array(delays),
        waited=np.array([_waited(*one) for one in zip(outcomes, delays, strict=True)]),
        cpu_seconds=cpu_seconds,
        kept={number: one.response for number, one in enumerate(outcomes) if one.response is not None},
    )

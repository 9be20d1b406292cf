# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The users: each sends requests over one connection at their intended starts, and writes their samples.

Locust starts and stops the users and manages their connections. The partition decides the intended starts,
and the workload validates the responses.
"""

import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any, NamedTuple

import gevent
import gevent.event
from locust import FastHttpUser, task
from locust.exception import StopUser

from tidegate.contract import Contract
from tidegate.protocol.constants import INFERENCE_HEADER_CONTENT_LENGTH
from tidegate_loadtests.partition import Partition
from tidegate_loadtests.samples import SampleWriter
from tidegate_loadtests.workload import InferenceRequest, validate_response

_MAX_ERROR_LENGTH = 160


class ScheduledRequest(NamedTuple):
    """A request with its intended start, in seconds from the start of the measured time."""

    intended_start: float
    request: InferenceRequest


class RequestSource:
    """The scheduled requests of this process, which all its users consume, with their clock and samples."""

    def __init__(self, partition: Partition, requests: list[InferenceRequest], writer: SampleWriter) -> None:
        self.plan = partition.plan
        self.contract = partition.contract
        self.writer = writer
        self.started = gevent.event.Event()
        self.measure_start = 0.0
        """Start of the measured time, on the monotonic clock."""
        # One iterator for all users, so that a request waits only while every connection is busy.
        self.scheduled: Iterator[ScheduledRequest] = (
            self._closed_loop(requests)
            if self.plan.rate is None
            else map(ScheduledRequest, partition.intended_starts().tolist(), cycle(requests))
        )

    def start(self) -> None:
        """Start the clock, once all users exist."""
        self.measure_start = time.monotonic() + self.plan.warmup
        self.started.set()

    def now(self) -> float:
        """Return the seconds since the start of the measured time, negative in the warm-up."""
        return time.monotonic() - self.measure_start

    def _closed_loop(self, requests: list[InferenceRequest]) -> Iterator[ScheduledRequest]:
        upcoming = cycle(requests)
        while (now := self.now()) < self.plan.duration:
            yield ScheduledRequest(now, next(upcoming))


class InferenceUser(FastHttpUser):
    """A user with one connection, which sends one request at a time."""

    source: RequestSource
    insecure = False
    max_redirects = 0

    @classmethod
    def configure(cls, source: RequestSource) -> None:
        """Set the source of requests for all users of this process."""
        cls.source = source
        # A server that sends no response holds a user for no longer than a request's timeout.
        cls.connection_timeout = cls.network_timeout = source.plan.timeout

    def on_start(self) -> None:
        """Accept every status, because the client would otherwise format a transcript of each error."""
        self.client.client.valid_response_codes = frozenset(range(100, 600))

    @task  # type: ignore[untyped-decorator]
    def send_requests(self) -> None:
        """Send requests until none is left. Locust lets a task finish, so one task cuts no request off."""
        self.source.started.wait()
        connection_free = -self.source.plan.warmup
        for scheduled in self.source.scheduled:
            gevent.sleep(max(0.0, scheduled.intended_start - self.source.now()))
            connection_free = self._send_in_time(scheduled, connection_free)
        raise StopUser

    def _send_in_time(self, scheduled: ScheduledRequest, connection_free: float) -> float:
        """Send a request unless its timeout has passed, write its sample, and return the time after it."""
        intended_start, request = scheduled
        timeout = self.source.plan.timeout
        sent = self.source.now()
        error: str | None
        if sent - intended_start < timeout:
            status, completed, error = self._send(request)
            if completed - intended_start > timeout:
                error = f"no response within {timeout:g} s of the intended start"
        else:
            status, completed = 0, sent
            error = f"not sent within {timeout:g} s of the intended start"
        self.source.writer.write(
            intended_start=intended_start,
            connection_free=connection_free,
            sent=sent,
            completed=completed,
            status=status,
            protocol=request.protocol,
            rows=request.rows,
            error=error,
        )
        return self.source.now()

    def _send(self, request: InferenceRequest) -> tuple[int, float, str | None]:
        """Send a request; return the status (0 without a response), the time of completion, and the error."""
        with self.client.request(
            "POST",
            request.path,
            name=request.protocol.value,
            data=request.body,
            headers=request.headers,
            catch_response=True,
        ) as response:
            completed = self.source.now()
            error = _response_error(request, self.source.contract, response)
            if error is None:
                response.success()
            else:
                response.failure(error)
            return response.status_code, completed, error


def _response_error(request: InferenceRequest, contract: Contract, response: Any) -> str | None:
    if (exception := response.request_meta["exception"]) is not None:
        # Locust's client wraps a timeout in an exception whose text mentions retries, and there are none.
        error = f"no response: {getattr(exception, 'original', None) or exception}"
    elif response.status_code == 200:
        header_length = response.headers.get(INFERENCE_HEADER_CONTENT_LENGTH)
        return validate_response(request, contract, header_length, response.content or b"")
    else:
        error = f"status {response.status_code}: {(response.content or b'').decode(errors='replace')}"
    return error[:_MAX_ERROR_LENGTH]

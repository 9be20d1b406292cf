# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The users: each sends requests over connections of its own at their intended starts, and records samples.

Locust starts and stops the users and manages their HTTP connections. The partition decides the intended
starts, and the workload validates the responses. Locust's own statistics, page and files receive the same
latencies as the samples, which count from the intended start.
"""

import time
from collections.abc import Iterator, Mapping
from itertools import count
from typing import NamedTuple

import gevent
import gevent.event
from locust import FastHttpUser, task
from locust.exception import CatchResponseError, StopUser
from locust.user.task import LOCUST_STATE_STOPPING

from tidegate.protocol.constants import INFERENCE_HEADER_CONTENT_LENGTH, Protocol
from tidegate_loadtests.error_texts import limit_errors
from tidegate_loadtests.load_models import Closed
from tidegate_loadtests.locust.grpc_connection import GrpcConnection
from tidegate_loadtests.partition import Arrival, Partition
from tidegate_loadtests.samples import SampleBuffer
from tidegate_loadtests.workload import InferenceRequest, Workload, validate_response

_MAX_ERROR_LENGTH = 160

# The first conversion of samples imports pandas, if it is installed: here, because later it would delay the
# first requests and a worker's heartbeats.
SampleBuffer().take().to_bytes()


class Response(NamedTuple):
    """The end of one request."""

    status: int
    """HTTP status; 0 without a response."""
    completed: float
    """Seconds from the start of the campaign."""
    error: str | None
    """Why the request failed; None if its response was correct and in time."""
    length: int = 0
    """The body's length in bytes."""


class RequestSource:
    """The requests of this process, which its users share, with their clock and their samples.

    Args:
        partition: This process's part of the load.
        workload: The encoded requests.
        headers: The resolved headers of each request.
    """

    def __init__(self, partition: Partition, workload: Workload, headers: Mapping[str, str]) -> None:
        self.partition = partition
        self.workload = workload
        self.headers = headers
        self.samples = SampleBuffer()
        self.started = gevent.event.Event()
        self.start_time = 0.0
        """Start of the campaign, on the monotonic clock."""
        self._reported_errors: set[str] = set()
        # One iterator for all users, so that a request waits only while every connection is busy.
        self._arrivals = [partition.arrivals(number) for number in range(len(partition.phases))]

    def start(self) -> None:
        """Start the clock, once all users exist."""
        self.start_time = time.monotonic()
        self.started.set()

    def now(self) -> float:
        """Return the seconds since the start of the campaign."""
        return time.monotonic() - self.start_time

    def limit_reported(self, error: str) -> str:
        """Return the error for Locust's statistics, whose memory grows with their number."""
        reported = limit_errors(error, self._reported_errors)
        self._reported_errors.add(reported)
        return reported

    @property
    def finished(self) -> bool:
        """Whether the time of the last phase is over."""
        return self.started.is_set() and self.now() >= self.partition.duration_seconds

    def arrivals(self, user: int) -> Iterator[Arrival]:
        """Return the arrivals that one user sends, phase by phase.

        A phase has a number of users of its own, and the other users wait for the next phase. Locust's shapes
        change the number of users once per second; phases change it without a pause.

        Args:
            user: The user's number in this process, from 0.
        """
        for phase, arrivals in zip(self.partition.phases, self._arrivals, strict=True):
            if user >= phase.users:
                continue
            if isinstance(phase.load, Closed):
                gevent.sleep(max(0.0, phase.start - self.now()))
                while (now := self.now()) < phase.end:
                    yield Arrival(now, self.partition.rows_per_request)
            else:
                yield from arrivals


class InferenceUser(FastHttpUser):
    """A user that sends one request at a time, over one HTTP and one gRPC connection."""

    source: RequestSource
    insecure = False
    max_redirects = 0
    _numbers: Iterator[int]

    @classmethod
    def configure(cls, source: RequestSource) -> None:
        """Set the source of requests for all users of this process."""
        cls.source = source
        cls._numbers = count()
        # A server that sends no response holds a user for no longer than a request's timeout.
        cls.connection_timeout = cls.network_timeout = source.partition.timeout

    def on_start(self) -> None:
        """Open the connection for gRPC, and accept every HTTP status."""
        # Otherwise the client would format a transcript of each error.
        self.client.client.valid_response_codes = frozenset(range(100, 600))
        self._number = next(self._numbers)
        partition = self.source.partition
        self._grpc = (
            GrpcConnection(partition.grpc_url, self.source.headers)
            if Protocol.GRPC in partition.protocols and partition.grpc_url is not None
            else None
        )

    @task  # type: ignore[untyped-decorator]
    def send_requests(self) -> None:
        """Send requests until none is left. Locust lets a task finish, so one task cuts no request off."""
        source = self.source
        source.started.wait()
        connection_free = 0.0
        for arrival in source.arrivals(self._number):
            gevent.sleep(max(0.0, arrival.intended_start - source.now()))
            if self._state == LOCUST_STATE_STOPPING and not source.finished:
                break  # the campaign was stopped on Locust's page
            connection_free = self._send_in_time(arrival, connection_free)
        raise StopUser

    def _send_in_time(self, arrival: Arrival, connection_free: float) -> float:
        """Send a request unless its timeout has passed, record its sample, and return the time after it."""
        source, (intended_start, rows) = self.source, arrival
        request = source.workload.next_request(rows)
        sent = source.now()
        if sent - intended_start >= source.partition.timeout:
            error = f"not sent within {source.partition.timeout:g} s of the intended start"
            response = Response(0, sent, error)
            self._report(request, intended_start, response)
        elif request.protocol is Protocol.GRPC:
            response = self._call(request, intended_start)
            self._report(request, intended_start, response)
        else:
            response = self._post(request, intended_start)
        source.samples.append(
            intended_start=intended_start,
            connection_free=connection_free,
            sent=sent,
            completed=response.completed,
            status=response.status,
            protocol=request.protocol.value,
            rows=rows,
            error=response.error,
        )
        return source.now()

    def _call(self, request: InferenceRequest, intended_start: float) -> Response:
        """Make a gRPC call."""
        assert self._grpc is not None
        status, content, error = self._grpc.call(request.path, request.body, self.source.partition.timeout)
        completed = self.source.now()
        error = self._final_error(request, completed - intended_start, error, None, content)
        return Response(status, completed, error, len(content))

    def _post(self, request: InferenceRequest, intended_start: float) -> Response:
        """Send an HTTP request. Locust's session reports it to Locust's statistics."""
        with self.client.request(
            "POST",
            request.path,
            name=request.protocol.value,
            data=request.body,
            headers={**request.headers, **self.source.headers},
            catch_response=True,
        ) as response:
            completed = self.source.now()
            latency = completed - intended_start
            response.request_meta["response_time"] = latency * 1e3
            content = response.content or b""
            error, header_length = None, None
            if (exception := response.request_meta["exception"]) is not None:
                # Locust's client wraps a timeout in an exception whose text mentions retries; there are none.
                error = f"no response: {getattr(exception, 'original', None) or exception}"
            elif response.status_code != 200:
                error = f"status {response.status_code}: {content.decode(errors='replace')}"
            else:
                header_length = response.headers.get(INFERENCE_HEADER_CONTENT_LENGTH)
            error = self._final_error(request, latency, error, header_length, content)
            if error is None:
                response.success()
            else:
                response.failure(self.source.limit_reported(error))
            return Response(response.status_code, completed, error)

    def _final_error(
        self,
        request: InferenceRequest,
        latency: float,
        error: str | None,
        header_length: str | None,
        content: bytes,
    ) -> str | None:
        """Return why a request failed: its lateness, else its error, else that of its content."""
        timeout = self.source.partition.timeout
        if latency > timeout:
            return f"no response within {timeout:g} s of the intended start"
        if error is None:
            error = validate_response(request, self.source.partition.contract, header_length, content)
        return error and error[:_MAX_ERROR_LENGTH]

    def _report(self, request: InferenceRequest, intended_start: float, response: Response) -> None:
        """Report a request to Locust's statistics."""
        self.environment.events.request.fire(
            request_type="gRPC" if request.protocol is Protocol.GRPC else "POST",
            name=request.protocol.value,
            response_time=(response.completed - intended_start) * 1e3,
            response_length=response.length,
            exception=None
            if response.error is None
            else CatchResponseError(self.source.limit_reported(response.error)),
            context={},
        )

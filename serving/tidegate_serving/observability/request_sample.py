# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The request sample: rows with their outputs in object storage, to evaluate them when labels arrive.

The event loop copies the rows of a sampled request into a buffer; a thread writes files. Buffer, files and
bytes per hour are bounded, and a row beyond a bound is dropped and counted. No failure of the store reaches a
request.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tidegate.contract import Contract
from tidegate.objects import Objects
from tidegate_serving.config import RequestSampleOptions
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.observability.sample_columns import sample_columns
from tidegate_serving.observability.sample_file import (
    SampledRows,
    SamplePath,
    encode_parquet,
    require_parquet,
)
from tidegate_serving.observability.sampling import MAX_REQUEST_ROWS, RequestSampler
from tidegate_serving.request_context import is_request_id

FILE_ROWS = 1_000
"""Rows of which a file is written. The encoder holds Python's lock, so larger files would delay requests."""

FILE_BYTES = 128 << 10
"""Bytes in memory of which a file is written, for the same reason."""

MAX_BUFFERED_ROWS = 20_000
"""Rows in the buffer. Further rows are dropped."""

MAX_BUFFERED_BYTES = 16 << 20
"""Bytes in the buffer. Further rows are dropped."""

FILE_SECONDS = 300.0
"""Time from the first row of a file until it is written, in seconds."""

PAUSE_SECONDS = 60.0
"""Time after a failed file in which no rows are sampled, in seconds, so that a failure costs no CPU."""

FLUSH_SECONDS = 3.0
"""Time in which the last file is written after the drain, in seconds. It fits into the grace period."""

HOUR = 3600

OUTCOMES = ("written", "buffer_full", "hourly_limit", "write_failed")

logger = logging.getLogger("tidegate.serving")


class RowBuffer:
    """The sampled rows that wait for their file.

    Args:
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._requests: deque[tuple[float, SampledRows]] = deque()
        """With the time from which on its file is due."""
        self._rows = 0
        self._bytes = 0

    def add(self, request: SampledRows) -> bool:
        """Append the rows of a request, and return whether there was room."""
        rows, n_bytes = self._rows + request.rows, self._bytes + request.n_bytes
        if rows > MAX_BUFFERED_ROWS or n_bytes > MAX_BUFFERED_BYTES:
            return False
        self._requests.append((self._clock() + FILE_SECONDS, request))
        self._rows, self._bytes = rows, n_bytes
        return True

    def seconds_until_file(self) -> float | None:
        """Return the time until a file is written; None if the buffer is empty."""
        if not self._requests:
            return None
        if self._rows >= FILE_ROWS or self._bytes >= FILE_BYTES:
            return 0.0
        return max(0.0, self._requests[0][0] - self._clock())

    def take(self) -> list[SampledRows]:
        """Remove and return the requests of a file, in order."""
        taken: list[SampledRows] = []
        rows = n_bytes = 0
        while self._requests and rows < FILE_ROWS and n_bytes < FILE_BYTES:
            _, request = self._requests.popleft()
            taken.append(request)
            rows += request.rows
            n_bytes += request.n_bytes
        self._rows -= rows
        self._bytes -= n_bytes
        return taken


class HourlyLimit:
    """The bytes that a server may write per hour of the clock.

    Args:
        n_bytes: The bytes.
    """

    def __init__(self, n_bytes: int) -> None:
        self._limit = n_bytes
        self._hour = 0
        self._used = 0

    def admit(self, n_bytes: int, seconds: float) -> bool:
        """Count a file, and return whether it is within the limit.

        Args:
            n_bytes: The size of the file.
            seconds: The time, in seconds since 1970.
        """
        hour = int(seconds // HOUR)
        used = self._used if hour == self._hour else 0
        if used + n_bytes > self._limit:
            return False
        self._hour, self._used = hour, used + n_bytes
        return True


class RequestSample(Collector):
    """Samples the requests of one server, from one event loop, and writes them from a thread.

    Args:
        options: The rate, the sensitivity and the limit.
        contract: The model's contract.
        path: The paths of the files.
        store: The store of the files; by default that of the options.
        wall_clock: Seconds since 1970.

    Raises:
        ConfigurationError: If the URL or the contract's sensitivity does not allow it, or the package for
            Parquet is not installed.
    """

    def __init__(
        self,
        options: RequestSampleOptions,
        contract: Contract,
        path: SamplePath,
        store: Objects | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._columns = sample_columns(contract, options.sensitivity)
        self._store = store or Objects(options.url)
        require_parquet()
        self._sampler = RequestSampler(options.rate)
        self._path = path
        self._wall_clock = wall_clock
        self._limit = HourlyLimit(options.hourly_bytes)
        self._files = 0
        self._failing = False
        # Shared with the thread, and guarded by the condition's lock.
        self._changed = threading.Condition()
        self._buffer = RowBuffer()
        self._closing = False
        self._paused_until = 0.0
        self._pause_outcome = OUTCOMES[0]
        self._rows = dict.fromkeys(OUTCOMES, 0)
        self._written_bytes = 0
        # A daemon, so that a store that does not respond never holds the process.
        self._thread = threading.Thread(target=self._run, name="request-sample", daemon=True)
        self._thread.start()

    def record(self, request_id: str | None, result: ResultSlice) -> None:
        """Copy the rows of a request into the buffer, if its id is sampled.

        Args:
            request_id: The id; None or empty if the request has none.
            result: The outputs of its rows.
        """
        if self._sampler.select(request_id) is None:
            return
        assert request_id is not None  # only ids are selected
        if not is_request_id(request_id):
            return
        now = self._wall_clock()
        rows = min(len(result), MAX_REQUEST_ROWS)
        if now < self._paused_until:
            with self._changed:
                self._rows[self._pause_outcome] += rows
            return
        columns = {name: column.read(result, rows) for name, column in self._columns.items()}
        sampled = SampledRows(request_id, now, rows, columns)
        with self._changed:
            waiting = self._buffer.seconds_until_file()
            if not self._buffer.add(sampled):
                self._rows["buffer_full"] += rows
            elif waiting is None or self._buffer.seconds_until_file() == 0:
                self._changed.notify()

    def close(self, timeout: float = FLUSH_SECONDS) -> None:
        """Write the rows of the buffer, and stop.

        Args:
            timeout: The time in which the store must accept them, in seconds.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        if self._thread.is_alive():
            logger.warning(
                "The last rows of the request sample are lost: %s accepted no file in %.0f s.",
                self._store.uri,
                timeout,
            )

    def _run(self) -> None:
        while taken := self._wait_for_file():
            outcome = self._write(taken)
            with self._changed:
                self._rows[outcome] += sum(request.rows for request in taken)

    def _wait_for_file(self) -> list[SampledRows]:
        """Return the requests of the next file; none if the sample is closed."""
        with self._changed:
            while not self._closing:
                seconds = self._buffer.seconds_until_file()
                if seconds == 0:
                    break
                self._changed.wait(seconds)
            return self._buffer.take()

    def _write(self, requests: list[SampledRows]) -> str:
        """Write a file, and return the outcome of its rows."""
        now = self._wall_clock()
        try:
            datatypes = {name: column.datatype for name, column in self._columns.items()}
            content = encode_parquet(requests, datatypes, self._path.digest)
            if not self._limit.admit(len(content), now):
                self._pause((now // HOUR + 1) * HOUR, "hourly_limit")
                return "hourly_limit"
            self._files += 1  # also after a failure, whose file may exist
            with suppress(FileExistsError):  # an attempt whose response was lost has written this path
                self._store.write(self._path.name(requests[0].seconds, self._files), content, "create")
        except Exception as error:  # a sample never ends the thread, and never reaches a request
            if not self._failing:
                logger.warning("The request sample is not written: %s", error)
            self._failing = True
            self._pause(now + PAUSE_SECONDS, "write_failed")
            return "write_failed"
        self._failing = False
        with self._changed:
            self._written_bytes += len(content)
        return "written"

    def _pause(self, until: float, outcome: str) -> None:
        with self._changed:
            self._paused_until, self._pause_outcome = until, outcome

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families of a scrape."""
        with self._changed:
            counts, written_bytes = dict(self._rows), self._written_bytes
        rows = CounterMetricFamily(
            "tidegate_request_sample_rows",
            "Rows of sampled requests, by whether they are written, or why they are dropped.",
            labels=["outcome"],
        )
        for outcome, count in counts.items():
            rows.add_metric([outcome], count)
        yield rows
        yield CounterMetricFamily(
            "tidegate_request_sample_written_bytes",
            "Bytes of the files of the request sample.",
            written_bytes,
        )


def create_request_sample(
    options: RequestSampleOptions, contract: Contract, model: str, digest: str
) -> RequestSample:
    """Start the request sample of this process.

    Args:
        options: The options.
        contract: The model's contract.
        model: The model's name.
        digest: The digest of its bundle.

    Raises:
        ConfigurationError: If the options or the contract do not allow it, or a package is not installed.
    """
    pod = os.environ.get("POD_NAME") or socket.gethostname()
    return RequestSample(options, contract, SamplePath(model, digest, pod, uuid.uuid4().hex[:8]))

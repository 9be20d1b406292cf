# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Samples: the raw record of a campaign, one CSV line per request, from which every metric is computed.

The load generator writes samples while it runs, and the verdict reads them afterwards. This module computes
no aggregate.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import TidegateError

Floats = NDArray[np.float64]

COLUMNS = ("intended_start", "connection_free", "sent", "completed", "status", "protocol", "rows", "error")


class SampleWriter:
    """Writer of samples as CSV.

    Times are seconds from the start of the measured time, so times in the warm-up are negative.
    """

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\n")

    def write_header(self) -> None:
        """Write the column names. A worker omits them, because the master appends its lines to a file."""
        self._writer.writerow(COLUMNS)

    def write(
        self,
        *,
        intended_start: float,
        connection_free: float,
        sent: float,
        completed: float,
        status: int,
        protocol: str,
        rows: int,
        error: str | None,
    ) -> None:
        """Write the sample of one request.

        Args:
            intended_start: When the schedule starts the request.
            connection_free: When the connection completed its previous request.
            sent: When the request was sent, or given up if it was never sent.
            completed: When the response was read, or the request failed.
            status: HTTP status; 0 without a response.
            protocol: The request's protocol.
            rows: Rows in the request.
            error: Why the request failed; None if its response was correct and in time.
        """
        # One line per sample, even if the server's message has line breaks, so that readers can count lines.
        message = "" if error is None else " ".join(error.split()) or "failed"
        times = (f"{time:.6f}" for time in (intended_start, connection_free, sent, completed))
        self._writer.writerow((*times, status, protocol, rows, message))


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples by column: one array per column, one element per request, ``[requests]``.

    Times are seconds from the start of the measured time.
    """

    intended_start: Floats
    connection_free: Floats
    sent: Floats
    completed: Floats
    status: NDArray[np.int64]
    protocol: NDArray[np.str_]
    rows: NDArray[np.int64]
    error: NDArray[np.str_]
    """Empty for a successful request."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of :class:`SampleWriter`.

        Raises:
            TidegateError: If the file does not exist or does not hold samples.
        """
        try:
            with path.open(newline="", encoding="utf-8") as file:
                header, *lines = csv.reader(file)
            if tuple(header) != COLUMNS:
                raise ValueError(f"expected the columns {','.join(COLUMNS)}, received {','.join(header)}")
            for number, line in enumerate(lines, start=2):
                if len(line) != len(COLUMNS):
                    raise ValueError(f"line {number}: expected {len(COLUMNS)} columns, received {len(line)}")
            columns = list(zip(*lines, strict=True)) or [()] * len(COLUMNS)
            times = [np.array(column, dtype=np.float64) for column in columns[:4]]
            status, rows = (np.array(columns[index], dtype=np.int64) for index in (4, 6))
            protocol, errors = (np.array(columns[index], dtype=np.str_) for index in (5, 7))
        except (OSError, ValueError) as error:
            raise TidegateError(f"{path} is not a file of samples: {error}.") from None
        return cls(times[0], times[1], times[2], times[3], status, protocol, rows, errors)

    def __len__(self) -> int:
        return len(self.intended_start)

    def select(self, mask: NDArray[np.bool_]) -> "Samples":
        """Return the samples where the mask is true.

        Args:
            mask: ``[requests]``.
        """
        return Samples(
            self.intended_start[mask],
            self.connection_free[mask],
            self.sent[mask],
            self.completed[mask],
            self.status[mask],
            self.protocol[mask],
            self.rows[mask],
            self.error[mask],
        )

    @property
    def measured(self) -> "Samples":
        """The samples whose intended start is after the warm-up."""
        return self.select(self.intended_start >= 0)

    @property
    def successful(self) -> NDArray[np.bool_]:
        """Whether each response was correct and in time, ``[requests]``."""
        return np.asarray(self.error == "")

    @property
    def latency_ms(self) -> Floats:
        """Milliseconds from the intended start to the response, which a client waits, ``[requests]``."""
        return (self.completed - self.intended_start) * 1e3

    @property
    def service_time_ms(self) -> Floats:
        """Milliseconds from the send to the response, which the server needs, ``[requests]``."""
        return (self.completed - self.sent) * 1e3

    @property
    def send_delay_ms(self) -> Floats:
        """Milliseconds that the load generator sent each request late, ``[requests]``.

        The delay counts from the moment when the request was due and its connection was free.
        """
        return (self.sent - np.maximum(self.intended_start, self.connection_free)) * 1e3


class SampleCounter:
    """Counter of the requests and failures in a file of samples that is still being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._lines = 0
        self._failures = 0

    def read(self) -> tuple[int, int]:
        """Read the lines that were added since the last call; return all requests and failures so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._position)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    is_header = self._position == 0
                    self._position += len(line)
                    if not is_header:
                        self._lines += 1
                        # The last column is the error; it is empty for a successful request.
                        self._failures += not line.endswith(b",\n")
        return self._lines, self._failures

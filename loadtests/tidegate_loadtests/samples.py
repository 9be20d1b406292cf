# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Samples: the raw record of a campaign, one line a request, from which every figure is computed.

The generator writes them as they come; whoever judges reads them afterwards. Nothing is averaged here.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import TidegateError

Floats = NDArray[np.float64]

COLUMNS = ("intended", "free", "start", "end", "status", "protocol", "rows", "error")


class SampleWriter:
    """Writes samples as CSV, as they come.

    Times are seconds from the start of the measured time, so those of the warm-up are negative.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._writer = csv.writer(file, lineterminator="\n")

    def header(self) -> None:
        """Begin a record. What is added to a record that has begun comes without."""
        self._writer.writerow(COLUMNS)

    def write(
        self,
        *,
        intended: float,
        free: float,
        start: float,
        end: float,
        status: int,
        protocol: str,
        rows: int,
        error: str | None,
    ) -> None:
        """Record a request.

        Args:
            intended: When it was meant to start.
            free: When the connection that carried it had finished its last request.
            start: When it was sent; when it was given up, if it never was.
            end: When its answer was read, or it failed.
            status: HTTP status, 0 if there was no answer.
            protocol: How it was put.
            rows: Rows in it.
            error: What was wrong; None if it was answered rightly and in time.
        """
        # A line a sample, whatever a server put into its message, so that a reader can count lines.
        problem = "" if error is None else " ".join(error.split()) or "failed"
        times = (f"{time:.6f}" for time in (intended, free, start, end))
        self._writer.writerow((*times, status, protocol, rows, problem))

    def flush(self) -> None:
        """Make what was written visible to readers."""
        self._file.flush()


@dataclass(frozen=True, slots=True)
class Samples:
    """A column an array, one entry a request; times in seconds from the start of the measured time."""

    intended: Floats
    free: Floats
    start: Floats
    end: Floats
    status: NDArray[np.int64]
    protocol: NDArray[np.str_]
    rows: NDArray[np.int64]
    error: NDArray[np.str_]
    """Empty if the request was answered rightly and in time."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what a :class:`SampleWriter` wrote.

        Raises:
            TidegateError: The file is missing or is no record of samples: the generator did not get to run.
        """
        try:
            with path.open(newline="", encoding="utf-8") as file:
                header, *lines = csv.reader(file)
            if tuple(header) != COLUMNS:
                raise ValueError("unexpected header")
            if any(len(line) != len(COLUMNS) for line in lines):
                raise ValueError("a line is incomplete")
            columns = list(zip(*lines, strict=True)) or [()] * len(COLUMNS)
            times = [np.array(column, dtype=np.float64) for column in columns[:4]]
            status, rows = (np.array(columns[index], dtype=np.int64) for index in (4, 6))
            protocol, error = (np.array(columns[index], dtype=np.str_) for index in (5, 7))
        except (OSError, ValueError) as problem:
            raise TidegateError(f"{path} is no record of samples: {problem}.") from None
        return cls(times[0], times[1], times[2], times[3], status, protocol, rows, error)

    def __len__(self) -> int:
        return len(self.intended)

    def where(self, mask: NDArray[np.bool_]) -> "Samples":
        """Only the samples that the mask names."""
        return Samples(
            self.intended[mask],
            self.free[mask],
            self.start[mask],
            self.end[mask],
            self.status[mask],
            self.protocol[mask],
            self.rows[mask],
            self.error[mask],
        )

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which requests were answered rightly and in time."""
        return np.asarray(self.error == "")

    @property
    def latency_ms(self) -> Floats:
        """From the intended start to the end of the answer, in milliseconds: what a client waits."""
        return (self.end - self.intended) * 1e3

    @property
    def service_ms(self) -> Floats:
        """From the sending to the end of the answer, in milliseconds: what the server alone takes."""
        return (self.end - self.start) * 1e3

    @property
    def lag_ms(self) -> Floats:
        """How late the generator itself was, in milliseconds: neither the schedule nor a busy connection."""
        return (self.start - np.maximum(self.intended, self.free)) * 1e3

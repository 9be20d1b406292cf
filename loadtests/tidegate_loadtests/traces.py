# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Traces: the arrival times of recorded requests, from a CSV or a Parquet file, for a replay.

A trace holds 12 bytes per request in memory. The values of the requests are a payload's concern.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

TIME_COLUMN = "time_seconds"
ROWS_COLUMN = "rows"

_MAX_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Trace:
    """Recorded arrivals, one element per request, ``[requests]``."""

    time: NDArray[np.float64]
    """Seconds from the first request of the trace, ascending."""
    rows: NDArray[np.int32] | None
    """Rows per request; None if the trace has no such column."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the columns ``time_seconds`` and ``rows`` of a ``.csv`` or a ``.parquet`` file.

        Raises:
            ValueError: If the file cannot be read, or its columns are not those of a trace.
        """
        columns = read_columns(path, (TIME_COLUMN, ROWS_COLUMN))
        if TIME_COLUMN not in columns:
            raise ValueError(f"{path}: expected a column '{TIME_COLUMN}', received none")
        time = _numbers(columns[TIME_COLUMN], f"{path}, column '{TIME_COLUMN}'")
        if not len(time):
            raise ValueError(f"{path}: expected at least one request, received none")
        if (np.diff(time) < 0).any():
            first = int(np.argmax(np.diff(time) < 0)) + 1
            raise ValueError(
                f"{path}, column '{TIME_COLUMN}': expected ascending times, received {time[first]:g} after "
                f"{time[first - 1]:g}"
            )
        rows = None
        if ROWS_COLUMN in columns:
            place = f"{path}, column '{ROWS_COLUMN}'"
            numbers = _numbers(columns[ROWS_COLUMN], place)
            wrong = (numbers < 1) | (numbers > _MAX_ROWS) | (numbers != np.floor(numbers))
            if wrong.any():
                raise ValueError(
                    f"{place}: expected integers from 1 to {_MAX_ROWS}, received {numbers[wrong][0]:g}"
                )
            rows = numbers.astype(np.int32)
        return cls(time - time[0], rows)


def read_columns(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Read the named columns that a ``.csv`` or a ``.parquet`` file has, as pyarrow arrays.

    Raises:
        ValueError: If the file cannot be read.
    """
    import pyarrow as pa  # here, because most campaigns read no such file
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            available = set(pa.parquet.read_schema(path).names)
            table = pa.parquet.read_table(path, columns=[name for name in names if name in available])
        elif path.suffix == ".csv":
            table = pa.csv.read_csv(path)
        else:
            raise ValueError(f"{path}: expected a file that ends with .csv or .parquet")
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    return {name: table.column(name).combine_chunks() for name in names if name in table.column_names}


def _numbers(column: Any, place: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise ValueError(f"{place}: expected a number in every line")
    return numbers

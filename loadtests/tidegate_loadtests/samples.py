# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Samples: the raw record of a campaign, one row per request, from which every metric is computed.

The load generator writes samples as Parquet while it runs, one row group after the other. Readers stream the
row groups, so neither side holds a whole campaign. A file gets its name and a mark when it is complete: an
interrupted campaign leaves only ``samples.parquet.partial``, which no reader accepts. This module computes no
aggregate.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tidegate.errors import TidegateError

Floats = NDArray[np.float64]
Texts = NDArray[np.object_]
"""References to few different texts. An array of text itself gives each row the length of the longest one."""

ROW_GROUP_ROWS = 32_768
"""Rows per row group: few enough to write one in milliseconds, and enough for an effective encoding."""

_TIMES = ("intended_start", "connection_free", "sent", "completed")
_TEXTS = ("protocol", "error")
_COMPLETE = "tidegate.complete"
"""The key in a file's metadata that says that its writer was closed."""
_TEXT = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema(
    [
        *((name, pa.float64()) for name in _TIMES),
        ("status", pa.int64()),
        ("protocol", _TEXT),
        ("rows", pa.int64()),
        ("error", _TEXT),
    ]
)


class Sample(NamedTuple):
    """The record of one request, as :meth:`SampleBuffer.append` describes it.

    Times are seconds from the start of the campaign.
    """

    intended_start: float
    connection_free: float
    sent: float
    completed: float
    status: int
    protocol: str
    rows: int
    error: str
    """Empty for a successful request."""


@dataclass(frozen=True, slots=True)
class Samples:
    """A batch of samples by column: one array per field of :class:`Sample`, ``[requests]``."""

    intended_start: Floats
    connection_free: Floats
    sent: Floats
    completed: Floats
    status: NDArray[np.int64]
    protocol: Texts
    rows: NDArray[np.int64]
    error: Texts

    @classmethod
    def from_rows(cls, rows: Iterable[Sample]) -> Self:
        """Return samples, one per row."""
        columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
        types = [*([np.float64] * 4), np.int64, object, np.int64, object]
        return cls(*(np.array(column, dtype=type_) for column, type_ in zip(columns, types, strict=True)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the samples of :meth:`to_bytes`."""
        return cls._from_arrow(pa.ipc.open_stream(data).read_all())

    @classmethod
    def _from_arrow(cls, table: Any) -> Self:
        times = [table.column(name).to_numpy() for name in _TIMES]
        status, rows = (table.column(name).to_numpy() for name in ("status", "rows"))
        protocol, error = (_texts(table.column(name)) for name in _TEXTS)
        return cls(times[0], times[1], times[2], times[3], status, protocol, rows, error)

    def to_bytes(self) -> bytes:
        """Return the samples as an Arrow stream, in which a worker sends them to the master."""
        sink = pa.BufferOutputStream()
        table = self._to_arrow()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def _to_arrow(self) -> Any:
        return pa.table([pa.array(getattr(self, field.name), field.type) for field in _SCHEMA], _SCHEMA)

    def __len__(self) -> int:
        return len(self.intended_start)

    def select(self, mask: NDArray[np.bool_]) -> "Samples":
        """Return the samples where the mask is true.

        Args:
            mask: ``[requests]``.
        """
        return Samples(*(getattr(self, field.name)[mask] for field in fields(self)))

    @property
    def successful(self) -> NDArray[np.bool_]:
        """Whether each response was correct and in time, ``[requests]``."""
        return np.asarray(self.error == "", bool)

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


class SampleBuffer:
    """The samples that a load generator has recorded since the last :meth:`take`."""

    def __init__(self) -> None:
        self._rows: list[Sample] = []

    def append(
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
        """Record the sample of one request.

        Args:
            intended_start: When the schedule starts the request.
            connection_free: When the connection completed its previous request.
            sent: When the request was sent, or given up if it was never sent.
            completed: When the response was read, or the request failed.
            status: HTTP status, or gRPC status code; 0 without a response.
            protocol: The request's protocol.
            rows: Rows in the request.
            error: Why the request failed; None if its response was correct and in time.
        """
        # One line per error, because reports list errors in tables.
        message = "" if error is None else " ".join(error.split()) or "failed"
        self._rows.append(
            Sample(intended_start, connection_free, sent, completed, status, protocol, rows, message)
        )

    def take(self) -> Samples:
        """Return the recorded samples, and forget them."""
        rows, self._rows = self._rows, []
        return Samples.from_rows(rows)


class SampleWriter:
    """Writer of a file of samples. The file has its name only after :meth:`close`.

    An exception in a ``with`` block leaves the partial file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._pending: list[Any] = []
        self._pending_rows = 0
        self._file = pq.ParquetWriter(
            self._partial,
            _SCHEMA,
            compression="zstd",
            use_dictionary=list(_TEXTS),
            use_byte_stream_split=list(_TIMES),
        )

    def write(self, samples: Samples) -> None:
        """Add samples; write a row group whenever enough have come together."""
        self._pending.append(samples._to_arrow())
        self._pending_rows += len(samples)
        if self._pending_rows >= ROW_GROUP_ROWS:
            self._write_row_groups()

    def close(self) -> None:
        """Write the remaining samples and the footer, and give the file its name."""
        self._write_row_groups()
        # pyarrow writes a footer for an interrupted writer as well, so the footer alone proves nothing.
        self._file.add_key_value_metadata({_COMPLETE: "true"})
        self._file.close()
        self._partial.replace(self._path)

    def _write_row_groups(self) -> None:
        if self._pending_rows:
            table = pa.concat_tables(self._pending).unify_dictionaries()
            self._file.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self._pending, self._pending_rows = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()


def read_samples(path: Path) -> Iterator[Samples]:
    """Read a file of :class:`SampleWriter`, one row group at a time.

    Raises:
        TidegateError: If the file does not exist or does not hold samples.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise TidegateError(f"{path} is not a complete file of samples: {error}.") from None
    with file:
        if not file.schema_arrow.equals(_SCHEMA):
            raise TidegateError(
                f"{path} is not a file of samples: expected the columns {_describe(_SCHEMA)}, "
                f"received {_describe(file.schema_arrow)}."
            )
        if _COMPLETE.encode() not in (file.metadata.metadata or {}):
            raise TidegateError(f"{path} is not a complete file of samples: its writer was interrupted.")
        for index in range(file.num_row_groups):
            yield Samples._from_arrow(file.read_row_group(index))


def _texts(column: Any) -> Texts:
    encoded = column.combine_chunks()
    if not len(encoded):
        return np.array([], dtype=object)
    indices: NDArray[np.int32] = encoded.indices.to_numpy()
    return np.array(encoded.dictionary.to_pylist(), dtype=object)[indices]


def _describe(schema: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)

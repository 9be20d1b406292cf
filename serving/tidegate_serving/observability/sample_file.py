# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a request sample: sampled rows as Parquet, and the path of a file."""

import io
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np

from tidegate.batch import Array
from tidegate.contract import Datatype
from tidegate.errors import ConfigurationError
from tidegate_serving.observability.sample_columns import DIGEST, ID, TIME

_UNSAFE = re.compile(r"[^a-zA-Z0-9.-]")


@dataclass(frozen=True)
class SampledRows:
    """The sampled rows of one request.

    Attributes:
        request_id: The request's id.
        seconds: The time of the response, in seconds since 1970.
        rows: The number of rows.
        columns: By column, the values ``[rows]``.
    """

    request_id: str
    seconds: float
    rows: int
    columns: Mapping[str, Array]

    @cached_property
    def n_bytes(self) -> int:
        """The size in memory, about."""
        texts = (array for array in self.columns.values() if array.dtype.hasobject)
        return sum(array.nbytes for array in self.columns.values()) + sum(
            sum(map(len, array.tolist())) for array in texts
        )

    @property
    def ids(self) -> list[str]:
        """The ids of the rows: the request's, with the number of the row if the request has several."""
        if self.rows == 1:
            return [self.request_id]
        return [f"{self.request_id}/{number}" for number in range(self.rows)]


def require_parquet() -> None:
    """Check that files can be written.

    Raises:
        ConfigurationError: If the package for Parquet is not installed.
    """
    try:
        import_module("arro3.io")
    except ImportError:
        raise ConfigurationError(
            "--request-sample-url: expected the packages arro3-core and arro3-io, which are not installed; "
            "install tidegate[sample]."
        ) from None


def encode_parquet(requests: Sequence[SampledRows], datatypes: Mapping[str, Datatype], digest: str) -> bytes:
    """Encode the rows of requests as Parquet.

    Args:
        requests: The sampled requests, of which there is at least one.
        datatypes: By column, the type of its values.
        digest: The digest of the bundle that computed the outputs.
    """
    from arro3.core import Array as ArrowArray
    from arro3.core import DataType, Table
    from arro3.io import write_parquet

    ids = [row_id for request in requests for row_id in request.ids]
    seconds = np.repeat([request.seconds for request in requests], [request.rows for request in requests])
    milliseconds = ArrowArray.from_numpy((seconds * 1000).astype(np.int64))
    columns: dict[str, Any] = {
        ID: ArrowArray(ids, type=DataType.string()),
        TIME: milliseconds.cast(DataType.timestamp("ms", tz="UTC")),
        DIGEST: ArrowArray([digest] * len(ids), type=DataType.string()),
    }
    for name, datatype in datatypes.items():
        time.sleep(0)  # lets the event loop run between two columns
        values = np.concatenate([request.columns[name] for request in requests])
        if datatype is Datatype.BYTES:
            columns[name] = ArrowArray(values.tolist(), type=DataType.string())
        else:
            columns[name] = ArrowArray.from_numpy(np.ascontiguousarray(values))
    sink = io.BytesIO()
    # Without dictionaries, encoding takes a fifth of the time, in which it holds Python's lock.
    write_parquet(Table.from_pydict(columns), sink, compression="zstd(1)", dictionary_enabled=False)
    return sink.getvalue()


@dataclass(frozen=True, slots=True)
class SamplePath:
    """The paths of one server's files: model, digest, date, and a name that no other server uses.

    Attributes:
        model: The model's name.
        digest: The digest of its bundle.
        pod: The name of the pod.
        process: A random text per process.
    """

    model: str
    digest: str
    pod: str
    process: str

    def name(self, seconds: float, number: int) -> str:
        """Return the path of a file.

        >>> SamplePath("iris", "17c3", "iris-7d4f/x", "5f0c").name(0, 3)
        'iris/17c3/date=1970-01-01/iris-7d4f_x-5f0c-000003.parquet'

        Args:
            seconds: The time of the file's first row, in seconds since 1970.
            number: The number of the file in this process.
        """
        date = datetime.fromtimestamp(seconds, UTC).date()
        pod = _UNSAFE.sub("_", self.pod)
        return f"{self.model}/{self.digest}/date={date}/{pod}-{self.process}-{number:06}.parquet"

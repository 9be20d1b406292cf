# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Where data comes from: a bundled data set, a CSV or Parquet file, an object in a store.

What is read becomes plain columns, and the bytes that were read give the data its SHA-256. What a column
is used for, and whether its values will do, is decided elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tidegate.digest import sha256
from tidegate.errors import DataError, FieldError
from tidegate.objects import read_object
from tidegate.reference import looks_like_reference
from tidegate_training.config import DATASET_TARGET, Data

Array = NDArray[Any]
Kind = Literal["float", "integer", "boolean", "text", "time"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column as it was read, ``[rows]``: float64 with NaN, int64, bool, str with "", or datetime64.

    Attributes:
        kind: Which of them.
        values: The values.
        missing: Which of them are missing. Whole numbers with missing ones are floats; truth values with
            missing ones stay, as there is nothing that they could become.
    """

    kind: Kind
    values: Array
    missing: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Source:
    """Data as it was read: where from, the SHA-256 of its content, and its columns in order."""

    name: str
    sha256: str
    columns: Mapping[str, Column]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values())).values)


def read(data: Data, base: Path) -> Source:
    """Read the data that a configuration names.

    Args:
        data: The configuration's part about it.
        base: The folder that a relative path starts from.

    Raises:
        FieldError: There is no such file, or nothing says its format.
        DataError: The file is empty, ragged, or no CSV or Parquet.
        StoreError: The object's store does not answer.
    """
    if data.dataset is not None:
        return _bundled(data.dataset, data.target_names)
    assert data.path is not None  # the configuration has one of the two
    form = data.format or Path(data.path).suffix.removeprefix(".").lower()
    if form not in ("csv", "parquet"):
        raise FieldError(
            ("data", "path"),
            f"{data.path} is named like neither CSV nor Parquet: set data.format to csv or parquet",
        )
    content = _content(data.path, base)
    if not content:
        raise DataError(f"{data.path} is empty: expected {form.upper()} with a header and rows.")
    table = _csv(data.path, content) if form == "csv" else _parquet(data.path, content)
    names = table.column_names
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{data.path} has more than one column called {', '.join(map(repr, repeated))}.")
    if "" in names:
        raise DataError(f"{data.path} has a column without a name: column {names.index('') + 1}.")
    if table.num_rows == 0:
        raise DataError(f"{data.path} has a header and no rows.")
    columns = {name: _column(data.path, name, table.column(name)) for name in names}
    return Source(data.path, sha256(content), columns)


def _bundled(name: str, target_names: bool) -> Source:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    features = np.asarray(bunch.data, dtype=np.float64)
    target = np.asarray(bunch.target)
    present = np.zeros(len(features), dtype=np.bool_)
    columns = {
        str(feature): Column("float", features[:, index], present)
        for index, feature in enumerate(bunch.feature_names)
    }
    if target_names:
        labels = np.array([str(label) for label in bunch.target_names], dtype=object)[target]
        columns[DATASET_TARGET] = Column("text", labels, present)
    elif target.dtype.kind == "i":
        columns[DATASET_TARGET] = Column("integer", target.astype(np.int64), present)
    else:
        columns[DATASET_TARGET] = Column("float", target.astype(np.float64), present)
    # There is no file whose bytes could be named, so the values are, in one byte order on every machine.
    content = b"".join(
        [
            "\n".join(columns).encode(),
            features.astype("<f8").tobytes(),
            target.astype("<f8").tobytes(),
        ]
    )
    return Source(f"scikit-learn's {name}", sha256(content), columns)


def _content(path: str, base: Path) -> bytes:
    if looks_like_reference(path):
        return read_object(path)
    file = base / path
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise FieldError(("data", "path"), f"the file {file} does not exist") from None
    except OSError as error:
        raise FieldError(("data", "path"), f"the file {file} cannot be read: {error.strerror}") from None


def _csv(name: str, content: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        # One block and one thread: the types of columns then depend on all rows, and a bad row has a number.
        return csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(use_threads=False, block_size=max(len(content), 1)),
            parse_options=csv.ParseOptions(invalid_row_handler=note),
        )
    except pa.ArrowInvalid as error:
        if ragged:
            row = ragged[0]
            where = f" in line {row.number}" if row.number is not None else ""
            raise DataError(
                f"{name} is ragged{where}: expected {row.expected_columns} values as in the header, "
                f"found {row.actual_columns}."
            ) from None
        raise DataError(f"{name} is no CSV in UTF-8: {_sentence(error)}.") from None


def _parquet(name: str, content: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{name} is no Parquet file: {_sentence(error)}.") from None


def _column(name: str, column: str, data: Any) -> Column:
    """A pyarrow column as numpy."""
    import pyarrow as pa

    is_type = pa.types
    kind, null = data.type, data.is_null().to_numpy().astype(np.bool_)
    numbers = partial(data.cast, safe=False)
    if is_type.is_boolean(kind):
        return Column("boolean", data.fill_null(False).to_numpy().astype(np.bool_), null)
    if is_type.is_integer(kind) and not null.any():
        if is_type.is_uint64(kind) and data.to_numpy().max() > np.iinfo(np.int64).max:
            raise DataError(f"{name}: the column '{column}' has whole numbers beyond 64 bits with a sign.")
        return Column("integer", data.to_numpy().astype(np.int64), null)
    if is_type.is_integer(kind) or is_type.is_floating(kind) or is_type.is_decimal(kind):
        values = numbers(pa.float64()).to_numpy().astype(np.float64)
        return Column("float", values, np.isnan(values))
    if is_type.is_temporal(kind) and not is_type.is_time(kind) and not is_type.is_duration(kind):
        return Column("time", numbers(pa.timestamp("us")).to_numpy(), null)
    if is_type.is_dictionary(kind):
        return _column(name, column, data.cast(kind.value_type))
    if is_type.is_string(kind) or is_type.is_large_string(kind):
        values = data.fill_null("").to_numpy().astype(object)
        return Column("text", values, values == "")
    if is_type.is_binary(kind):
        raise DataError(f"{name}: the column '{column}' has text that is not in UTF-8.")
    if is_type.is_null(kind):
        return Column("float", np.full(len(null), np.nan), null)
    raise DataError(
        f"{name}: the column '{column}' has values of the type {kind}, of which no feature can be made; "
        "leave it out with features.drop."
    )


def _sentence(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")

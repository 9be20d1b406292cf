# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Reads data: one of scikit-learn's data sets, a CSV or Parquet file, or an object in a store.

The result has plain columns and the SHA-256 of the content. :mod:`tidegate_training.table` validates the
values and decides the use of each column.
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
    """A column of the data.

    Attributes:
        kind: The kind of the values.
        values: ``[rows]`` of float64 (NaN if missing), int64, bool, str ("" if missing) or datetime64.
        missing: ``[rows]``, whether a value is missing. Whole numbers with missing values are floats.
            Booleans with missing values stay booleans.
    """

    kind: Kind
    values: Array
    missing: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Source:
    """Data with its name, the SHA-256 of its content, and its columns in order."""

    name: str
    sha256: str
    columns: Mapping[str, Column]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())).values)


def read_source(data: Data, base_dir: Path) -> Source:
    """Read the data of a configuration.

    Args:
        data: The configuration's section ``data``.
        base_dir: The folder that a relative path starts from.

    Raises:
        FieldError: If the file does not exist, cannot be read, or has an unknown format.
        DataError: If the file is empty, ragged, or not valid CSV or Parquet.
        NotFoundError: If the store does not hold the object.
        StoreError: If the object's store is not available.
    """
    if data.dataset is not None:
        return _load_dataset(data.dataset, data.target_names)
    assert data.path is not None  # validated in Data
    file_format = data.format or Path(data.path).suffix.removeprefix(".").lower()
    if file_format not in ("csv", "parquet"):
        raise FieldError(
            ("data", "path"),
            f"expected a name that ends in .csv or .parquet, received {data.path}: "
            "set data.format to csv or parquet",
        )
    content = _read_content(data.path, base_dir)
    if not content:
        raise DataError(f"{data.path} is empty: expected {file_format.upper()} with a header and rows.")
    table = _parse_csv(data.path, content) if file_format == "csv" else _parse_parquet(data.path, content)
    names = table.column_names
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{data.path} has more than one column called {', '.join(map(repr, repeated))}.")
    if "" in names:
        raise DataError(f"{data.path} has a column without a name: column {names.index('') + 1}.")
    if table.num_rows == 0:
        raise DataError(f"{data.path} has a header and no rows.")
    columns = {name: _convert_column(data.path, name, table.column(name)) for name in names}
    return Source(data.path, sha256(content), columns)


def _load_dataset(name: str, target_names: bool) -> Source:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    features = np.asarray(bunch.data, dtype=np.float64)
    target = np.asarray(bunch.target)
    none_missing = np.zeros(len(features), dtype=np.bool_)
    columns = {
        str(feature): Column("float", features[:, index], none_missing)
        for index, feature in enumerate(bunch.feature_names)
    }
    if target_names:
        labels = np.array([str(label) for label in bunch.target_names], dtype=object)[target]
        columns[DATASET_TARGET] = Column("text", labels, none_missing)
    elif target.dtype.kind == "i":
        columns[DATASET_TARGET] = Column("integer", target.astype(np.int64), none_missing)
    else:
        columns[DATASET_TARGET] = Column("float", target.astype(np.float64), none_missing)
    # A data set has no file, so the digest covers its values, in one byte order on every machine.
    content = b"".join(
        [
            "\n".join(columns).encode(),
            features.astype("<f8").tobytes(),
            target.astype("<f8").tobytes(),
        ]
    )
    return Source(f"scikit-learn's {name}", sha256(content), columns)


def _read_content(path: str, base_dir: Path) -> bytes:
    if looks_like_reference(path):
        return read_object(path)
    file = base_dir / path
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise FieldError(("data", "path"), f"the file {file} does not exist") from None
    except OSError as error:
        raise FieldError(("data", "path"), f"the file {file} cannot be read: {error.strerror}") from None


def _parse_csv(name: str, content: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    ragged: list[Any] = []

    def collect_ragged(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        # With one block and one thread, column types depend on all rows, and an invalid row has a number.
        return csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(use_threads=False, block_size=max(len(content), 1)),
            parse_options=csv.ParseOptions(invalid_row_handler=collect_ragged),
        )
    except pa.ArrowInvalid as error:
        if ragged:
            row = ragged[0]
            where = f" in line {row.number}" if row.number is not None else ""
            raise DataError(
                f"{name} is ragged{where}: expected {row.expected_columns} values as in the header, "
                f"received {row.actual_columns}; correct the line."
            ) from None
        raise DataError(f"{name} is not valid CSV in UTF-8: {_first_line(error)}.") from None


def _parse_parquet(name: str, content: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{name} is not a valid Parquet file: {_first_line(error)}.") from None


def _convert_column(name: str, column: str, data: Any) -> Column:
    """Convert a pyarrow column to numpy."""
    import pyarrow as pa

    is_type = pa.types
    kind, null = data.type, data.is_null().to_numpy().astype(np.bool_)
    cast = partial(data.cast, safe=False)
    if is_type.is_boolean(kind):
        return Column("boolean", data.fill_null(False).to_numpy().astype(np.bool_), null)
    if is_type.is_integer(kind) and not null.any():
        if is_type.is_uint64(kind) and data.to_numpy().max() > np.iinfo(np.int64).max:
            raise DataError(
                f"{name}: the column '{column}' has a whole number beyond the range of INT64: use another "
                "unit."
            )
        return Column("integer", data.to_numpy().astype(np.int64), null)
    if is_type.is_integer(kind) or is_type.is_floating(kind) or is_type.is_decimal(kind):
        values = cast(pa.float64()).to_numpy().astype(np.float64)
        return Column("float", values, np.isnan(values))
    if is_type.is_temporal(kind) and not is_type.is_time(kind) and not is_type.is_duration(kind):
        return Column("time", cast(pa.timestamp("us")).to_numpy(), null)
    if is_type.is_dictionary(kind):
        return _convert_column(name, column, data.cast(kind.value_type))
    if is_type.is_string(kind) or is_type.is_large_string(kind):
        values = data.fill_null("").to_numpy().astype(object)
        return Column("text", values, values == "")
    if is_type.is_binary(kind):
        raise DataError(f"{name}: the column '{column}' has text that is not valid UTF-8: convert the file.")
    if is_type.is_null(kind):
        return Column("float", np.full(len(null), np.nan), null)
    raise DataError(
        f"{name}: the column '{column}' has values of the type {kind}, which cannot become a feature: "
        "leave it out with features.drop."
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Reads data: one of scikit-learn's data sets, a CSV or Parquet file, or an object in a store.

The result has the columns as the file holds them and the SHA-256 of the content. Only a column that is used
is converted, so a column that is left out may hold anything. :mod:`tidegate_training.data.table` decides
the use of each column.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.csv_file import CsvFormat, read_csv
from tidegate.digest import sha256
from tidegate.errors import DataError, FieldError, Location
from tidegate.objects import read_object
from tidegate.reference import looks_like_reference
from tidegate_training.config import DATASET_TARGET, Data
from tidegate_training.data.columns import ArrowColumn, RawColumn, TextColumn

Array = NDArray[Any]

_COMPRESSIONS: Mapping[str, str] = {".gz": "gzip", ".zst": "zstd"}
_CHECKSUM_ERROR = "CRC checksum"


@dataclass(frozen=True)
class Source:
    """Data with its name, the SHA-256 of its content, and its columns in order.

    Attributes:
        name: The name of the file or the data set, for messages.
        sha256: The digest of the content as it was read.
        names: The names of the columns. They may repeat or be empty, as long as no such column is used.
        columns: By position, the columns as the file holds them.
        indices: The names of columns that pandas saved as the index of a data frame.
    """

    name: str
    sha256: str
    names: tuple[str, ...]
    columns: tuple[RawColumn, ...]
    indices: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.columns[0])

    def column(self, name: str) -> RawColumn:
        """Return a column.

        Raises:
            DataError: If the name belongs to several columns.
        """
        first, last = self._positions[name]
        if first != last:
            raise DataError(
                f"{self.name} has more than one column called '{name}': rename them, or leave them out with "
                "features.drop."
            )
        return self.columns[first]

    def require_column(self, name: str, location: Location) -> None:
        """Check that a column exists.

        Raises:
            FieldError: If it does not. The location is the field that names the column.
        """
        if name not in self._positions:
            raise FieldError(
                location, f"{self.name} has no column '{name}', expected one of {', '.join(self.names)}"
            )

    def without_column(self, name: str) -> "Source":
        """Return the data without the columns of a name."""
        kept = [index for index, other in enumerate(self.names) if other != name]
        return replace(
            self,
            names=tuple(self.names[index] for index in kept),
            columns=tuple(self.columns[index] for index in kept),
        )

    def without_columns(self) -> "Source":
        """Return the name and the digest alone, because the texts of a file take most of a run's memory."""
        return replace(self, names=(), columns=())

    @cached_property
    def _positions(self) -> Mapping[str, tuple[int, int]]:
        """By name, the first and the last column of this name."""
        positions: dict[str, tuple[int, int]] = {}
        for position, name in enumerate(self.names):
            positions[name] = positions.get(name, (position, position))[0], position
        return positions


def read_source(data: Data, base_dir: Path) -> Source:
    """Read the data of a configuration.

    Args:
        data: The configuration's section ``data``.
        base_dir: The folder that a relative path starts from.

    Raises:
        FieldError: If the file does not exist, cannot be read, or has an unknown format.
        DataError: If the file is empty, damaged, ragged, or not valid CSV or Parquet.
        NotFoundError: If the store does not hold the object.
        StoreError: If the object's store is not available.
    """
    if data.dataset is not None:
        return _load_dataset(data.dataset, data.target_names)
    assert data.path is not None  # validated in Data
    path = Path(data.path)
    compression = _COMPRESSIONS.get(path.suffix.lower())
    suffix = path.with_suffix("").suffix if compression else path.suffix
    file_format = data.format or suffix.removeprefix(".").lower()
    if file_format not in ("csv", "parquet"):
        raise FieldError(
            ("data", "path"),
            f"expected a name that ends in .csv, .csv.gz, .csv.zst or .parquet, received {data.path}: "
            "set data.format to csv or parquet",
        )
    if file_format == "parquet" and data.csv is not None:
        raise FieldError(("data", "csv"), f"allowed for CSV only, and {data.path} is Parquet: remove it")
    content = _read_content(data.path, base_dir)
    if not content:
        raise DataError(f"{data.path} is empty: expected {file_format.upper()} with a header and rows.")
    digest = sha256(content)
    if file_format == "parquet":
        return _parquet_source(data.path, content, digest)
    if compression is not None:
        content = _decompress(data.path, content, compression)
    options = data.csv or CsvFormat()
    file = read_csv(data.path, content, options)
    columns = (
        TextColumn(where(data.path, column), texts, options)
        for column, texts in zip(file.names, file.columns, strict=True)
    )
    return Source(data.path, digest, file.names, tuple(columns))


def _load_dataset(name: str, target_names: bool) -> Source:
    import pyarrow as pa
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    features = np.asarray(bunch.data, dtype=np.float64)
    target = np.asarray(bunch.target)
    values = [features[:, index] for index in range(features.shape[1])]
    if target_names:
        values.append(np.array([str(label) for label in bunch.target_names], dtype=object)[target])
    else:
        values.append(target.astype(np.int64 if target.dtype.kind == "i" else np.float64))
    names = (*map(str, bunch.feature_names), DATASET_TARGET)
    # A data set has no file, so the digest covers its values, in one byte order on every machine.
    content = b"".join(
        [
            "\n".join(names).encode(),
            features.astype("<f8").tobytes(),
            target.astype("<f8").tobytes(),
        ]
    )
    source = f"scikit-learn's {name}"
    columns = (
        ArrowColumn(where(source, column), pa.chunked_array([pa.array(array)]))
        for column, array in zip(names, values, strict=True)
    )
    return Source(source, sha256(content), names, tuple(columns))


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


def _decompress(name: str, content: bytes, compression: str) -> bytes:
    import pyarrow as pa

    try:
        with pa.CompressedInputStream(pa.BufferReader(content), compression) as stream:
            return bytes(stream.read())
    except OSError as error:
        raise DataError(f"{name} is not valid {compression}: {_first_line(error)}.") from None


def _parquet_source(name: str, content: bytes, digest: str) -> Source:
    table = read_parquet(name, content)
    names = tuple(table.column_names)
    columns = (ArrowColumn(where(name, column), table.column(i)) for i, column in enumerate(names))
    pandas = table.schema.pandas_metadata or {}
    # A range is saved as a description, and every other index as a column.
    indices = frozenset(index for index in pandas.get("index_columns", ()) if isinstance(index, str))
    return Source(name, digest, names, tuple(columns), indices)


def read_parquet(name: str, content: bytes) -> Any:
    """Return the content of a Parquet file as Arrow's table.

    Raises:
        DataError: If it is damaged, is not Parquet, or has no rows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # A page without a checksum passes; a page whose content differs from its checksum does not.
        file = parquet.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read()
    except (pa.ArrowInvalid, OSError) as error:
        problem = _first_line(error)
        if _CHECKSUM_ERROR in problem:
            raise DataError(f"{name} is damaged ({problem}): copy the file again.") from None
        raise DataError(f"{name} is not a valid Parquet file: {problem}.") from None
    if table.num_rows == 0:
        raise DataError(f"{name} has no rows.")
    return table


def where(name: str, column: str) -> str:
    """Return the place of a column, for messages."""
    return f"{name}: the column '{column}'"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")

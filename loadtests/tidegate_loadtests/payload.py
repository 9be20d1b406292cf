# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The payload: rows of feature values from a CSV or a Parquet file, by the names of the contract.

It validates the columns and their types. Values outside of the contract reach the server, which rejects them.
"""

from pathlib import Path
from typing import Any

from tidegate.contract import Contract, Datatype, Feature, Scalar
from tidegate.errors import DataError
from tidegate_loadtests.traces import read_columns

MAX_VALUES = 2_000_000
"""Largest number of values in a payload file, because every request is encoded before the load starts."""

Rows = tuple[tuple[Scalar, ...], ...]


def read_payload(path: Path, contract: Contract) -> Rows:
    """Read the rows of a payload file, each in the order of the contract's features.

    An empty value is a missing value. Columns that are not features are ignored, so a recorded trace can be
    a payload as well.

    Raises:
        DataError: If the file cannot be read, lacks a feature, is empty or too large, or has a value of
            another type.
    """
    try:
        columns = read_columns(path, contract.feature_names)
    except ValueError as error:
        raise DataError(f"{error}: correct 'payload.file'.") from None
    if missing := [name for name in contract.feature_names if name not in columns]:
        raise DataError(
            f"{path}: expected one column per feature, received none for {', '.join(map(repr, missing))}: "
            "add the columns."
        )
    count = len(columns[contract.feature_names[0]])
    if not 0 < count * len(contract.features) <= MAX_VALUES:
        raise DataError(
            f"{path}: expected from 1 to {MAX_VALUES // len(contract.features):,} rows of "
            f"{len(contract.features)} values, received {count:,}: give another file."
        )
    lists = [_values(path, feature, columns[feature.name]) for feature in contract.features]
    return tuple(zip(*lists, strict=True))


def _values(path: Path, feature: Feature, column: Any) -> list[Scalar]:
    values = column.to_pylist()
    for index, value in enumerate(values):
        try:
            values[index] = _convert(feature, value)
        except (TypeError, ValueError):
            raise DataError(
                f"{path}, row {index + 1}, column '{feature.name}': expected a {feature.datatype} value, "
                f"received {value!r}: correct the value."
            ) from None
    return list(values)


def _convert(feature: Feature, value: Any) -> Scalar:
    """Return a value in the feature's type.

    Raises:
        TypeError: If the value has another type.
        ValueError: If it has no form in this type.
    """
    if value is None and (feature.datatype is Datatype.BYTES or feature.datatype.is_float):
        return None
    if feature.datatype is Datatype.BYTES:
        return str(value)
    if feature.datatype is Datatype.BOOL:
        if value not in (0, 1):
            raise ValueError
        return bool(value)
    if isinstance(value, bool | str):
        raise TypeError
    if feature.datatype.is_integer:
        if value != int(value):
            raise ValueError
        return int(value)
    return float(value) if value == value else None  # NaN is a missing value

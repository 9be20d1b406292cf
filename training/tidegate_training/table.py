# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The table: features in the contract's data types, the target, and what the split goes by.

Every complaint about values is made here, with file, column and row, before anything is fitted. Rows are
counted from 1, the header left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Batch
from tidegate.contract import MATRIX, MAX_NAME_LENGTH, Datatype
from tidegate.errors import DataError, FieldError, Location
from tidegate_training.bundling.outputs import prediction_datatype
from tidegate_training.config import TrainingConfig
from tidegate_training.source import Column, Kind, Source
from tidegate_training.split import Indices

Array = NDArray[Any]

CATEGORIES_LIMIT = 1000
"""A text column with more distinct values is a name or a remark, and no category."""

EXACT_IN_FLOAT32 = 1 << 24
"""Beyond it not every whole number exists in 32-bit floating point."""

LARGEST_TARGET = {Datatype.FP32: float(np.finfo(np.float32).max), Datatype.FP64: 1e150}
"""By the type of a regression's answers: all that it holds, or that 64 bits can hold squared and added up."""

_DATATYPES = {
    "float32": Datatype.FP32,
    "float64": Datatype.FP64,
    "int32": Datatype.INT32,
    "int64": Datatype.INT64,
    "bool": Datatype.BOOL,
    "text": Datatype.BYTES,
}
_AS_READ: Mapping[Kind, Datatype] = {
    "integer": Datatype.INT64,
    "boolean": Datatype.BOOL,
    "text": Datatype.BYTES,
}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to train on and to judge by.

    Attributes:
        columns: By feature, ``[rows]`` in the feature's numpy type. Missing: NaN, or "" in text.
        datatypes: By feature, its data type, in the order of a row.
        target: ``[rows]`` of int64 or str classes, or of float64 values.
        groups: ``[rows]``, where the split keeps groups together.
        times: ``[rows]``, where the split goes by time.
    """

    columns: Mapping[str, Array]
    datatypes: Mapping[str, Datatype]
    target: Array
    groups: Array | None = None
    times: Array | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def is_matrix(self) -> bool:
        """Whether all features are numbers of one type, so that rows are a matrix's."""
        kinds = set(self.datatypes.values())
        return len(kinds) == 1 and Datatype.BYTES not in kinds

    def batch(self, rows: Indices) -> Batch:
        """Some rows as the model takes them, and as the server will decode them."""
        if self.is_matrix:
            return Batch({MATRIX: np.stack([column[rows] for column in self.columns.values()], axis=1)})
        return Batch({name: column[rows] for name, column in self.columns.items()})

    def missing(self, name: str) -> NDArray[np.bool_]:
        """``[rows]``, which values of a feature are missing."""
        column = self.columns[name]
        if self.datatypes[name].is_float:
            return np.asarray(np.isnan(column))
        if self.datatypes[name] is Datatype.BYTES:
            return np.asarray(column == "", dtype=np.bool_)
        return np.zeros(len(column), dtype=np.bool_)


def make_table(source: Source, config: TrainingConfig) -> Table:
    """Give each column its part and its type.

    Raises:
        FieldError: The configuration names a column that the data does not have, or does not fit it.
        DataError: A value does not fit its column's part or type.
    """
    features = _feature_names(source, config)
    columns, datatypes = {}, {}
    for name in features:
        column = source.columns[name]
        options = config.features.overrides.get(name)
        wanted = _DATATYPES[options.datatype] if options and options.datatype else None
        if wanted is None and column.kind == "text":
            _refuse_spoilt_numbers(source, name, column)
        datatype = wanted or _AS_READ.get(column.kind, _DATATYPES[config.float_dtype])
        if options and options.handle_unknown == "accept" and datatype is not Datatype.BYTES:
            raise FieldError(
                ("features", "overrides", name, "handle_unknown"),
                f"the column is {datatype} and has no categories",
            )
        columns[name] = _typed(source, name, column, datatype)
        datatypes[name] = datatype
    if config.task == "classification":
        target = _classes(source, config)
    else:
        target = _values(source, config, prediction_datatype(datatypes.values()))
    split = config.split
    return Table(
        columns,
        datatypes,
        target,
        groups=_complete(source, split.group).values if split.group is not None else None,
        times=_times(source, split.time) if split.time is not None else None,
    )


def _feature_names(source: Source, config: TrainingConfig) -> list[str]:
    options, split = config.features, config.split
    keep, drop = options.keep or [], options.drop or []
    special: list[tuple[Location, str | None]] = [
        (("target",), config.target),
        (("split", "group"), split.group),
        (("split", "time"), split.time),
    ]
    listed = [(("features", "keep", index), name) for index, name in enumerate(keep)]
    listed += [(("features", "drop", index), name) for index, name in enumerate(drop)]
    for field, column in [*special, *listed]:
        if column is not None and column not in source.columns:
            raise FieldError(
                field,
                f"{source.name} has no column '{column}': expected one of {', '.join(source.columns)}",
            )
    reserved = {name for _, name in special if name is not None}
    for index, name in enumerate(keep):
        if name in reserved:
            raise FieldError(
                ("features", "keep", index),
                f"'{name}' is the target or what the split goes by, and cannot be a feature as well",
            )
    if options.keep is not None:
        # The order of the data, not of the list: what a row means must not depend on how it was asked for.
        names = [name for name in source.columns if name in keep]
    else:
        dropped = reserved | set(drop)
        names = [name for name in source.columns if name not in dropped]
    if not names:
        raise FieldError(("features",), f"no feature is left, as {source.name} has no other columns")
    for name in names:
        _refuse_name(source, name)
    for name in options.overrides:
        if name not in names:
            raise FieldError(
                ("features", "overrides", name), f"it is no feature: expected some of {', '.join(names)}"
            )
    return names


def _refuse_name(source: Source, name: str) -> None:
    """Refuse a name that the contract cannot have."""
    if name == MATRIX:
        raise DataError(
            f"{source.name}: a column is called '{MATRIX}', which is the name of the matrix of all features; "
            "rename it, or leave it out with features.drop."
        )
    if len(name) > MAX_NAME_LENGTH:
        raise DataError(
            f"{source.name}: the name of the column '{name[:40]}…' has {len(name)} characters, and that of a "
            f"feature has at most {MAX_NAME_LENGTH}; rename it, or leave it out with features.drop."
        )


def _typed(source: Source, name: str, column: Column, datatype: Datatype) -> Array:
    """The values of a feature in its type."""
    where = f"{source.name}: the column '{name}'"
    values = column.values
    if column.kind == "time":
        raise DataError(
            f"{where} has times, of which no feature can be made; leave it out with features.drop."
        )
    if datatype is Datatype.BYTES:
        if column.kind == "float":
            raise DataError(
                f"{where} has numbers with fractions or missing whole numbers, which are no categories; give "
                "it another datatype in features.overrides."
            )
        text = np.array([str(value) for value in values], dtype=object)
        count = len(set(text.tolist()))
        if count > CATEGORIES_LIMIT:
            raise DataError(
                f"{where} has {count} different texts, and a feature can have {CATEGORIES_LIMIT}; leave it "
                "out with features.drop."
            )
        return text
    if column.kind == "text":
        values = _parse(where, values)
    if datatype is Datatype.BOOL:
        missing, fits = np.zeros(len(values), np.bool_), np.isin(values, (0, 1))
        if column.kind == "boolean":
            missing = column.missing
        _refuse(where, values, missing | ~fits, "true or false")
        return values.astype(np.bool_)
    if column.kind == "boolean":
        _refuse(where, values, column.missing, "true or false")
    numbers = values.astype(np.float64) if values.dtype != np.int64 else values
    _refuse(where, values, np.isinf(numbers), "a finite number")
    if datatype.is_integer:
        whole = np.equal(np.mod(numbers, 1), 0)  # False where missing
        limits = np.iinfo(datatype.dtype)
        within = (numbers >= limits.min) & (numbers <= limits.max)
        _refuse(where, values, ~(whole & within), f"a whole number of type {datatype}, never missing")
        return numbers.astype(datatype.dtype)
    if datatype is Datatype.FP32:
        if values.dtype == np.int64:
            _refuse(
                where,
                values,
                np.abs(numbers) > EXACT_IN_FLOAT32,
                "whole numbers up to 2^24, as float32 has no others (set datatype: int64 or float64)",
            )
        _refuse(where, values, np.abs(numbers) > np.finfo(np.float32).max, "a number that float32 can hold")
    return numbers.astype(datatype.dtype)


def _refuse_spoilt_numbers(source: Source, name: str, column: Column) -> None:
    """Refuse a column of numbers that a few texts have turned into a column of text."""
    present = np.flatnonzero(~column.missing)
    texts = [index for index in present if not _is_number(column.values[index])]
    if texts and len(texts) < len(present) / 2:
        raise DataError(
            f"{source.name}: the column '{name}' has the text {column.values[texts[0]]!r} in row "
            f"{texts[0] + 1}, and most of its values are numbers; correct it, or set its datatype to text in "
            "features.overrides."
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse(where: str, values: Array) -> Array:
    numbers = np.full(len(values), np.nan)
    for index, text in enumerate(values):
        if text and _is_number(text):
            numbers[index] = float(text)
        elif text:
            raise DataError(f"{where} has the text {text!r} in row {index + 1}: expected a number.")
    return numbers


def _refuse(where: str, values: Array, wrong: Array, expected: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{where} has {values[row]} in row {row + 1}: expected {expected}.")


def _complete(source: Source, name: str) -> Column:
    """A column in which nothing is missing."""
    column = source.columns[name]
    if column.missing.any():
        row = int(np.argmax(column.missing))
        count = int(column.missing.sum())
        raise DataError(
            f"{source.name}: the column '{name}' is missing in row {row + 1}"
            f"{f' and {count - 1} more' if count > 1 else ''}; leave these rows out or fill them in."
        )
    return column


def _times(source: Source, name: str) -> Array:
    column = _complete(source, name)
    if column.kind in ("text", "boolean"):
        raise DataError(
            f"{source.name}: the column '{name}' cannot be ordered in time: expected dates as YYYY-MM-DD, "
            f"times, or numbers, found {column.values[0]!r}."
        )
    return column.values


def _classes(source: Source, config: TrainingConfig) -> Array:
    column = _complete(source, config.target)
    where = f"{source.name}: the target '{config.target}'"
    if column.kind == "text":
        classes: Array = np.array([str(value) for value in column.values])
    elif column.kind == "time":
        raise DataError(f"{where} has times, which are no classes.")
    elif np.equal(np.mod(column.values.astype(np.float64), 1), 0).all():
        classes = column.values.astype(np.int64)
    else:
        raise DataError(
            f"{where} has numbers with fractions, which are no classes: is the task a regression?"
        )
    found = np.unique(classes)
    if len(found) == 1:
        raise DataError(f"{where} is '{found[0]}' in every row: there is nothing to learn.")
    if len(found) > max(2, len(classes) // 2):
        raise DataError(
            f"{where} has {len(found)} classes in {len(classes)} rows, too few rows a class: is the task a "
            "regression?"
        )
    if config.positive_label is not None and (len(found) != 2 or config.positive_label not in found.tolist()):
        raise FieldError(
            ("positive_label",),
            f"expected one of two classes, received {config.positive_label!r}, and {where} has "
            f"{', '.join(map(repr, found.tolist()))}",
        )
    return classes


def _values(source: Source, config: TrainingConfig, datatype: Datatype) -> Array:
    column = _complete(source, config.target)
    where = f"{source.name}: the target '{config.target}'"
    if column.kind not in ("float", "integer"):
        raise DataError(
            f"{where} is no number, so there is no regression: found {column.values[0]!r} in row 1."
        )
    values = column.values.astype(np.float64)
    largest = LARGEST_TARGET[datatype]
    expected = f"a number of at most {largest:.2g}, as answers are {datatype} (use another unit)"
    _refuse(where, values, np.abs(values) > largest, expected)
    if (values == values[0]).all():
        raise DataError(f"{where} is {values[0]:g} in every row: there is nothing to learn.")
    return values

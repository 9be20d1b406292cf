# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The table: features in the contract's data types, the target, and the columns that the split uses.

Every error about a value comes from here, with file, column and row, before a pipeline is fitted. Rows are
counted from 1, without the header.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import MATRIX, MAX_NAME_LENGTH, Datatype, Feature
from tidegate.errors import DataError, FieldError, Location
from tidegate_training.bundling.features import FeatureTable, Indices
from tidegate_training.bundling.outputs import OUTLIER, prediction_datatype
from tidegate_training.config import FeatureOptions, TrainingConfig
from tidegate_training.data.columns import Column, DeclaredKind, Kind
from tidegate_training.data.grouping import read_groupings
from tidegate_training.data.interactions import merge_repeats
from tidegate_training.data.source import Source
from tidegate_training.evaluation.breakdown import Grouping

Array = NDArray[Any]

MAX_CATEGORIES = 1000
"""Largest number of categories of a feature; a column with more texts holds names or remarks."""

EXACT_IN_FLOAT32 = 1 << 24
"""The largest whole number below which float32 holds every whole number."""

MAX_TARGET = {Datatype.FP32: float(np.finfo(np.float32).max), Datatype.FP64: 1e150}
"""The largest target by the type of the output. In 64 bits, the sum of squares stays finite too."""

_DATATYPES = {
    "float32": Datatype.FP32,
    "float64": Datatype.FP64,
    "int32": Datatype.INT32,
    "int64": Datatype.INT64,
    "bool": Datatype.BOOL,
    "text": Datatype.BYTES,
    "date": Datatype.BYTES,
    "datetime": Datatype.BYTES,
}
_AS_READ: Mapping[Kind, Datatype] = {
    "integer": Datatype.INT64,
    "boolean": Datatype.BOOL,
    "text": Datatype.BYTES,
}


def _declared_kind(datatype: Datatype) -> DeclaredKind:
    """Return the kind of the values of a declared data type."""
    if datatype is Datatype.BYTES:
        return "text"
    return "boolean" if datatype is Datatype.BOOL else "number"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to train and to evaluate a model.

    Attributes:
        features: The feature columns, ``[rows]`` each.
        target: ``[rows]`` of int64 or str classes, or of float64 values; None if the data has none.
        groups: ``[rows]``, the column ``split.group``.
        times: ``[rows]``, the column ``split.time``.
        weights: ``[rows]`` of float64, the column ``sample_weight``.
        evaluation_groups: By column, the groups that have metrics of their own.
    """

    features: FeatureTable
    target: Array | None
    groups: Array | None = None
    times: Array | None = None
    weights: Array | None = None
    evaluation_groups: Mapping[str, Grouping] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features)

    def weights_of(self, rows: Indices) -> Array | None:
        """Return the weights of the rows with the numbers ``rows``, ``[rows]``; None without weights."""
        return None if self.weights is None else self.weights[rows]

    def without_repeats(self) -> "Table":
        """Return interactions, of which those of one user with one item are merged."""
        assert self.target is not None  # the items
        (name, users), *_ = self.features.columns.items()
        rows, weights = merge_repeats(users, self.target, self.times, self.weights)
        return Table(
            FeatureTable({name: users[rows]}, self.features.datatypes),
            self.target[rows],
            times=None if self.times is None else self.times[rows],
            weights=weights,
        )


def build_table(source: Source, config: TrainingConfig) -> Table:
    """Select the columns of the features, the target and the split, and convert the features to their types.

    Raises:
        FieldError: If the configuration names a column that does not exist, or contradicts a column's type.
        DataError: If a value does not fit the use or the type of its column.
    """
    features = _feature_names(source, config)
    columns, datatypes = {}, {}
    for name in features:
        options = config.features.overrides.get(name, FeatureOptions())
        configured = _configured_datatype(options)
        column = _read_feature(source, name, configured, options.format is not None)
        datatype = configured or _AS_READ.get(column.kind, _DATATYPES[config.float_dtype])
        _validate_categorical(name, options, datatype)
        datatypes[name] = datatype
        if options.format is not None:
            columns[name] = _convert_times(source, name, column, options.format)
            continue
        columns[name] = _convert_feature(source, name, column, datatype)
        if config.task == "recommendation":
            _validate_users(source, name, column, datatype)
        elif (datatype is Datatype.BYTES and not options.free_text) or options.categorical:
            _validate_categories(source, name, columns[name], options)
    target = _read_target(source, config, prediction_datatype(datatypes.values()))
    split = config.split
    table = Table(
        FeatureTable(columns, datatypes),
        target,
        groups=read_groups(source, split.group) if split.group is not None else None,
        times=_times(source, split.time) if split.time is not None else None,
        weights=_weights(source, config.sample_weight) if config.sample_weight is not None else None,
        evaluation_groups=read_groupings(source, config.evaluation.groups),
    )
    return table.without_repeats() if config.task == "recommendation" else table


def read_feature(source: Source, feature: Feature) -> Array:
    """Return a column as a feature of a contract, ``[rows]``.

    Raises:
        DataError: If a value does not have the feature's type.
    """
    column = _read_feature(source, feature.name, feature.datatype, feature.format is not None)
    if feature.format is not None:
        return _convert_times(source, feature.name, column, feature.format)
    return _convert_feature(source, feature.name, column, feature.datatype)


def read_groups(source: Source, name: str) -> Array:
    """Return a column as the group of each row, ``[rows]``.

    Raises:
        DataError: If a row misses its group.
    """
    return _complete_column(source, name).values


def find_unused_times(source: Source, config: TrainingConfig) -> dict[str, str]:
    """Return the columns of times by which the rows are not split, with their use: features, or left out."""
    split = config.split
    if split.time is not None or split.group is not None:
        return {}
    overrides = config.features.overrides
    times = {name: "a feature" for name, options in overrides.items() if options.format is not None}
    for name in config.features.drop or []:
        if source.column(name).convert(None).kind == "time":
            times[name] = "left out of the features"
    return times


def _read_target(source: Source, config: TrainingConfig, datatype: Datatype) -> Array | None:
    """Return the true class, value, item or group of each row, ``[rows]``; None without a target.

    Args:
        source: The data.
        config: The configuration.
        datatype: The type of outputs in the data's unit.
    """
    if config.target_column is None:
        return None
    if config.task == "classification":
        return _target_classes(source, config)
    if config.task == "regression":
        return _target_values(source, config, datatype)
    labels = _target_labels(source, config)
    return _target_outliers(source, config, labels) if config.task == "outlier_detection" else labels


def _configured_datatype(options: FeatureOptions) -> Datatype | None:
    """Return the data type that a feature's options declare; only texts are free, or have an order."""
    if options.datatype is not None:
        return _DATATYPES[options.datatype]
    return Datatype.BYTES if options.free_text or options.order is not None else None


def _validate_categorical(name: str, options: FeatureOptions, datatype: Datatype) -> None:
    """Check that options for categories are those of a feature with categories."""
    location = ("features", "overrides", name)
    if options.categorical and not (datatype is Datatype.BYTES or datatype.is_integer):
        raise FieldError(
            (*location, "categorical"),
            f"the column is {datatype}, and categories are whole numbers or texts: remove it, or set "
            "datatype: int64 or text",
        )
    has_categories = options.categorical or (datatype is Datatype.BYTES and options.format is None)
    if options.handle_unknown == "accept" and not has_categories:
        raise FieldError(
            (*location, "handle_unknown"),
            f"the column is {datatype} and has no categories: remove it, or set datatype: text, or "
            "categorical: true for whole numbers",
        )


def _validate_categories(source: Source, name: str, values: Array, options: FeatureOptions) -> None:
    """Check the categories of a feature: their number, and that a declared order has all of them."""
    where = f"{source.name}: the column '{name}'"
    categories = set(values.tolist())
    if len(categories) > MAX_CATEGORIES:
        raise DataError(
            f"{where} has {len(categories)} different values, expected at most {MAX_CATEGORIES} categories: "
            "set free_text: true in features.overrides if they are free texts, or leave it out with "
            "features.drop."
        )
    if options.order is not None and options.handle_unknown != "accept":
        known = {"", *options.order}
        unknown = np.fromiter((value not in known for value in values), np.bool_, len(values))
        _reject_rows(where, values, unknown, f"one of {', '.join(options.order)}, the categories of 'order'")


def _validate_users(source: Source, name: str, column: Column, datatype: Datatype) -> None:
    """Check that a column names the user of each interaction."""
    where = f"{source.name}: the column '{name}'"
    if not (datatype is Datatype.BYTES or datatype.is_integer):
        raise DataError(f"{where} is {datatype}, and users are texts or whole numbers.")
    _reject_missing(where, column, "the user of each interaction")


def _read_feature(source: Source, name: str, datatype: Datatype | None, is_time: bool) -> Column:
    """Return a feature's values as its declared data type has them; without one, as the file has them.

    Args:
        source: The data.
        name: The feature's name.
        datatype: The declared data type.
        is_time: Whether the feature is declared as a date or a time.
    """
    raw = source.column(name)
    if is_time:
        return raw.convert("time")
    if datatype is not None:
        return raw.convert(_declared_kind(datatype))
    column = raw.convert(None)
    if (problem := raw.other_reading(column)) is not None:
        raise DataError(problem)
    return column


def _feature_names(source: Source, config: TrainingConfig) -> list[str]:
    """Return the names of the feature columns, in the order of the data."""
    options, split = config.features, config.split
    keep, drop = options.keep or [], options.drop or []
    special: list[tuple[Location, str | None]] = [
        (("target",), config.target_column),
        (("split", "group"), split.group),
        (("split", "time"), split.time),
        (("sample_weight",), config.sample_weight),
    ]
    listed = [(("features", "keep", index), name) for index, name in enumerate(keep)]
    listed += [(("features", "drop", index), name) for index, name in enumerate(drop)]
    for location, column in [*special, *listed]:
        if column is not None:
            source.require_column(column, location)
    reserved = {name for _, name in special if name is not None}
    for index, name in enumerate(keep):
        if name in reserved:
            raise FieldError(
                ("features", "keep", index),
                f"'{name}' is the target or the column of weights, groups or times, so it cannot be a "
                "feature: remove it",
            )
    if options.keep is not None:
        # The order of the data, not of the list, so that the order of the list does not change the contract.
        kept = set(keep)
        names = [name for name in source.names if name in kept]
    else:
        dropped = reserved | set(drop)
        names = [name for name in source.names if name not in dropped]
    if not names:
        raise FieldError(("features",), f"no feature is left: {source.name} has no other columns")
    if config.task == "recommendation" and len(names) > 1:
        raise FieldError(
            ("features",),
            f"expected one feature, the user of a recommendation, received {', '.join(names)}: name the user "
            "in features.keep",
        )
    for name in names:
        _validate_name(source, name)
        if name in source.indices and options.keep is None:
            raise DataError(
                f"{source.name}: the column '{name}' is the index of a pandas data frame, which numbers the "
                "rows: leave it out with features.drop, or name it in features.keep if it is a feature."
            )
    features = set(names)
    for name in options.overrides:
        if name not in features:
            raise FieldError(
                ("features", "overrides", name),
                f"'{name}' is not a feature, expected one of {', '.join(names)}",
            )
    return names


def _validate_name(source: Source, name: str) -> None:
    """Check that the contract can hold a feature's name."""
    if not name:
        raise DataError(
            f"{source.name} has a column without a name, column {source.names.index(name) + 1}: name it, or "
            "leave it out with features.drop."
        )
    if name == MATRIX:
        raise DataError(
            f"{source.name}: a column is called '{MATRIX}', which is the name of the matrix of all features: "
            "rename it, or leave it out with features.drop."
        )
    if len(name) > MAX_NAME_LENGTH:
        raise DataError(
            f"{source.name}: the name of the column '{name[:40]}…' has {len(name)} characters, expected at "
            f"most {MAX_NAME_LENGTH}: rename it, or leave it out with features.drop."
        )


def _convert_feature(source: Source, name: str, column: Column, datatype: Datatype) -> Array:
    """Convert a column to a feature's type, ``[rows]``."""
    where = f"{source.name}: the column '{name}'"
    values = column.values
    if column.kind == "time":
        raise DataError(
            f"{where} has dates or times: set datatype: date or datetime in features.overrides to use their "
            "parts, or leave it out with features.drop."
        )
    if datatype is Datatype.BYTES:
        return values
    if datatype is Datatype.BOOL or column.kind == "boolean":
        _reject_missing(where, column, "true or false")
    if datatype is Datatype.BOOL:
        _reject_rows(where, values, ~np.isin(values, (0, 1)), "true or false")
        return values.astype(np.bool_)
    numbers = values.astype(np.float64) if values.dtype != np.int64 else values
    _reject_rows(where, values, np.isinf(numbers), "a finite number")
    if datatype.is_integer:
        _reject_missing(where, column, f"a whole number of type {datatype}, never missing")
        whole = np.equal(np.mod(numbers, 1), 0)
        limits = np.iinfo(datatype.dtype)
        within = (numbers >= limits.min) & (numbers <= limits.max)
        _reject_rows(where, values, ~(whole & within), f"a whole number of type {datatype}")
        return numbers.astype(datatype.dtype)
    if datatype is Datatype.FP32:
        if values.dtype == np.int64:
            _reject_rows(
                where,
                values,
                np.abs(numbers) > EXACT_IN_FLOAT32,
                "whole numbers up to 2^24, because float32 lacks some larger ones (set datatype: int64 "
                "or float64)",
            )
        _reject_rows(
            where, values, np.abs(numbers) > np.finfo(np.float32).max, "a number that float32 can hold"
        )
    return numbers.astype(datatype.dtype)


def _convert_times(source: Source, name: str, column: Column, time_format: str) -> Array:
    """Convert a column to texts in ISO 8601, ``[rows]``; a missing one is empty.

    Args:
        source: The data.
        name: The column's name.
        column: The column.
        time_format: ``date`` or ``date-time``.
    """
    where = f"{source.name}: the column '{name}'"
    if column.kind != "time":
        raise DataError(
            f"{where} has values of the kind '{column.kind}': expected dates or times in ISO 8601."
        )
    times = column.values.astype("datetime64[us]")
    days = times.astype("datetime64[D]")
    if time_format == "date":
        with_time = ~np.isnat(times) & (times != days)
        _reject_rows(where, times, with_time, "a date without a time (or set datatype: datetime)")
        texts = np.datetime_as_string(days)
    else:
        seconds = times.astype("datetime64[s]")
        whole = bool((np.isnat(times) | (times == seconds)).all())
        texts = np.datetime_as_string(seconds if whole else times)
    return np.where(np.isnat(times), "", texts.astype(object))


def _reject_missing(where: str, column: Column, expected: str) -> None:
    """Raise an error for the first missing value."""
    if column.missing.any():
        raise DataError(
            f"{where} is missing in row {int(np.argmax(column.missing)) + 1}: expected {expected}."
        )


def _reject_rows(where: str, values: Array, invalid: Array, expected: str) -> None:
    """Raise an error for the first row of the mask ``invalid``, ``[rows]``."""
    if invalid.any():
        row = int(np.argmax(invalid))
        raise DataError(f"{where} has {values[row]} in row {row + 1}: expected {expected}.")


def _complete_column(source: Source, name: str, kind: DeclaredKind | None = None) -> Column:
    """Return a column; raise an error if it misses a value."""
    column = source.column(name).convert(kind)
    if column.missing.any():
        row = int(np.argmax(column.missing))
        count = int(column.missing.sum())
        raise DataError(
            f"{source.name}: the column '{name}' is missing in row {row + 1}"
            f"{f' and {count - 1} more' if count > 1 else ''}: leave these rows out, or fill them in."
        )
    return column


def _times(source: Source, name: str) -> Array:
    """Return a column that rows can be sorted by, ``[rows]``."""
    column = _complete_column(source, name)
    if column.kind in ("text", "boolean"):
        raise DataError(
            f"{source.name}: the column '{name}' cannot be sorted by time: expected dates as YYYY-MM-DD, "
            f"times, or numbers, received {column.values[0]!r} in row 1."
        )
    return column.values


def _weights(source: Source, name: str) -> Array:
    """Return the weight of each row, ``[rows]`` of float64."""
    column = _complete_column(source, name, "number")
    where = f"{source.name}: the column '{name}'"
    if column.kind not in ("float", "integer"):
        raise DataError(f"{where} has values of the kind '{column.kind}', and a sample weight is a number.")
    weights = column.values.astype(np.float64)
    invalid = ~np.isfinite(weights) | (weights < 0)
    _reject_rows(where, column.values, invalid, "a sample weight of 0 or more, and finite")
    return weights


def _target_classes(source: Source, config: TrainingConfig) -> Array:
    """Return the class of each row, ``[rows]`` of int64 or str."""
    classes = _target_labels(source, config)
    where = f"{source.name}: the target '{config.target}'"
    labels = np.unique(classes)
    if len(labels) == 1:
        raise DataError(f"{where} is '{labels[0]}' in every row: expected two classes or more.")
    if len(labels) > max(2, len(classes) // 2):
        raise DataError(
            f"{where} has {len(labels)} classes in {len(classes)} rows, too few rows per class: is the task "
            "a regression?"
        )
    if config.threshold is not None and len(labels) != 2:
        raise FieldError(
            ("threshold",), f"expected two classes, and {where} has {len(labels)}: remove the threshold"
        )
    if config.positive_label is not None and (
        len(labels) != 2 or config.positive_label not in labels.tolist()
    ):
        raise FieldError(
            ("positive_label",),
            f"expected one of two classes, received {config.positive_label!r}, and {where} has "
            f"{', '.join(map(repr, labels.tolist()))}",
        )
    return classes


def _target_labels(source: Source, config: TrainingConfig) -> Array:
    """Return the class or the item of each row, ``[rows]`` of int64 or str."""
    column = _complete_column(source, config.target)
    if column.kind != "text" and source.column(config.target).other_reading(column) is not None:
        column = _complete_column(source, config.target, "text")  # a class may be called 007
    where = f"{source.name}: the target '{config.target}'"
    kind = "items" if config.task == "recommendation" else "classes"
    if column.kind == "text":
        return np.array([str(value) for value in column.values])
    if column.kind == "time":
        raise DataError(f"{where} has times, which cannot be {kind}: expected whole numbers or texts.")
    if np.equal(np.mod(column.values.astype(np.float64), 1), 0).all():
        return column.values.astype(np.int64)
    raise DataError(f"{where} has numbers with fractions, which cannot be {kind}: is the task a regression?")


def _target_outliers(source: Source, config: TrainingConfig, labels: Array) -> Array:
    """Return -1 for each outlier and 1 for each other row, ``[rows]``, as scikit-learn labels them."""
    known = np.unique(labels).tolist()
    outlier = OUTLIER if config.positive_label is None else config.positive_label
    if outlier not in known or (config.positive_label is None and not {OUTLIER, 1}.issuperset(known)):
        raise FieldError(
            ("positive_label",),
            f"expected the class of the outliers, one of {', '.join(map(repr, known[:10]))} in the target "
            f"'{config.target}' of {source.name}, received {config.positive_label!r}",
        )
    return np.where(labels == outlier, OUTLIER, 1)


def _target_values(source: Source, config: TrainingConfig, datatype: Datatype) -> Array:
    """Return the value of each row, ``[rows]`` of float64."""
    column = _complete_column(source, config.target, "number")
    where = f"{source.name}: the target '{config.target}'"
    if column.kind not in ("float", "integer"):
        raise DataError(f"{where} has values of the kind '{column.kind}', and a regression expects numbers.")
    values = column.values.astype(np.float64)
    limit = MAX_TARGET[datatype]
    expected = f"a number of at most {limit:.2g}, because the output is {datatype} (use another unit)"
    _reject_rows(where, values, np.abs(values) > limit, expected)
    if (values == values[0]).all():
        raise DataError(f"{where} is {values[0]:g} in every row: expected different values.")
    return values

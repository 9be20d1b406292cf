# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Validation of values: from a client's elements to arrays in the contract's data types.

Every validation runs on whole arrays; the invalid element is located only after a validation has failed.
Nothing is coerced: text does not become a number, null does not become zero, and a boolean does not become
one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tidegate.batch import Array
from tidegate.contract import Datatype, Feature
from tidegate.text_values import TextValueError, parse_times, validate_dates
from tidegate_serving.errors import RequestError, Violation, shown

Place = Callable[[int], str]
"""Names an element's place in the request, from the element's index in row-major order."""

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}
"""The data types of tensors, little-endian as in binary data.

From the Open Inference Protocol, "Tensor Data Types".
"""

_NUMBERS: frozenset[type] = frozenset({int, float, type(None)})
_TEXT: frozenset[type] = frozenset({str, type(None)})
_SHOWN_CATEGORIES = 10


def array_from_json(values: list[Any], datatype: str, place: Place, features: Sequence[Feature]) -> Array:
    """Convert JSON values of a declared data type to an array.

    Args:
        values: The elements in row-major order.
        datatype: The declared data type. Floats of every width become float64, so that an error can show a
            number beyond FP32. A null becomes NaN, or ``""`` in BYTES.
        place: Names an element's place in the request.
        features: The columns, by which rejected values are counted.

    Returns:
        Shape ``[elements]``.

    Raises:
        RequestError: If an element has another JSON type, or is a number outside of the data type.
    """
    dtype = DATATYPES[datatype]
    types = set(map(type, values))
    if dtype.kind == "f":
        if not types <= _NUMBERS:
            _reject_type(values, _NUMBERS, "a number", place, features)
        try:
            return np.array(values, dtype=np.float64)
        except OverflowError:  # an integer of more than 308 digits, if a parser ever returns one
            raise RequestError(
                f"{place(0)}: expected numbers within {datatype}, received a larger one."
            ) from None
    if dtype.kind == "b":
        if types - {bool}:
            _reject_type(values, frozenset({bool}), "true or false", place, features)
        return np.array(values, dtype=np.bool_)
    if dtype.kind == "O":
        if not types <= _TEXT:
            _reject_type(values, _TEXT, "a string", place, features)
        return np.array(["" if value is None else value for value in values], dtype=object)
    return _integers_from_json(values, types, datatype, place, features)


def _integers_from_json(
    values: list[Any], types: set[type], datatype: str, place: Place, features: Sequence[Feature]
) -> Array:
    dtype = DATATYPES[datatype]
    if not types <= {int, float}:
        _reject_type(values, frozenset({int, float}), "an integer", place, features)
    if float in types:
        # In JSON, 3.0 is an integer. Value by value, because an array of both types would round large
        # integers.
        for index, value in enumerate(values):
            if isinstance(value, float) and not value.is_integer():
                raise RequestError(
                    f"{place(index)}: expected an integer, received {shown(value)}.",
                    violation=Violation.TYPE,
                    feature=_feature_name(features, index),
                )
        values = [int(value) for value in values]
    limits = np.iinfo(dtype)
    if values and (min(values) < limits.min or max(values) > limits.max):
        index = next(i for i, value in enumerate(values) if not limits.min <= value <= limits.max)
        raise RequestError(
            f"{place(index)}: expected an {datatype} from {limits.min} to {limits.max}, received "
            f"{values[index]}.",
            violation=Violation.OUT_OF_RANGE,
            feature=_feature_name(features, index),
        )
    return np.array(values, dtype=dtype)


def validate_values(features: Sequence[Feature], array: Array, datatype: str, place: Place) -> Array:
    """Validate elements against the features, and convert them to the features' data type.

    Every width of number is accepted if each value is within the feature's type. Integers are accepted for
    floats. No other conversion between kinds of types is made.

    Args:
        features: The columns, all of one data type.
        array: The elements in row-major order, shape ``[rows * features]``.
        datatype: The declared data type of the elements.
        place: Names an element's place in the request.

    Returns:
        Shape ``[rows, features]``.

    Raises:
        RequestError: If the declared data type is of another kind, or a value is missing, not finite,
            outside of the data type, or an unknown category.
    """
    expected = features[0].datatype
    if not _is_accepted(datatype, expected):
        raise RequestError(
            f"{place(0)}: expected {_accepted_types(expected)} for feature '{features[0].name}', received "
            f"{datatype}.",
            violation=Violation.TYPE,
            feature=features[0].name if len(features) == 1 else None,
        )
    if expected.is_float:
        array = _validate_floats(features, array, place)
    elif expected.is_integer:
        array = _validate_integers(features, array, place)
        _validate_categories(features, array, place)
    elif expected is Datatype.BYTES:
        _validate_categories(features, array, place)
        _validate_times(features, array, place)
    return array.reshape(-1, len(features))


def _is_accepted(datatype: str, expected: Datatype) -> bool:
    kind = DATATYPES[datatype].kind
    if expected.is_float:
        return kind in "fiu"
    if expected.is_integer:
        return kind in "iu"
    return datatype == expected


def _accepted_types(expected: Datatype) -> str:
    if expected.is_float:
        return f"{expected} or another number type"
    return f"{expected} or another integer type" if expected.is_integer else str(expected)


def _validate_floats(features: Sequence[Feature], array: Array, place: Place) -> Array:
    dtype = features[0].datatype.dtype
    converted = array
    if array.dtype != dtype:
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
    finite = np.isfinite(converted)
    if finite.all():
        return converted
    may_be_missing = np.resize([feature.missing for feature in features], len(array))
    invalid = np.flatnonzero(~finite & ~(np.isnan(array) & may_be_missing))
    if len(invalid):
        index = int(invalid[0])
        feature, value = features[index % len(features)], float(array[index])
        if np.isnan(value):
            received, violation = "null or NaN, and this feature is never missing", Violation.MISSING_FEATURE
        elif np.isinf(value):
            received, violation = "infinity", Violation.NON_FINITE
        else:
            received, violation = shown(value), Violation.OUT_OF_RANGE
        limit = np.finfo(converted.dtype).max
        raise RequestError(
            f"{place(index)}: expected a number between -{limit:.4g} and {limit:.4g} for feature "
            f"'{feature.name}' ({feature.datatype}), received {received}.",
            violation=violation,
            feature=feature.name,
        )
    return converted


def _validate_integers(features: Sequence[Feature], array: Array, place: Place) -> Array:
    dtype = features[0].datatype.dtype
    if not np.can_cast(array.dtype, dtype):
        limits = np.iinfo(dtype)
        invalid = np.flatnonzero((array < limits.min) | (array > limits.max))
        if len(invalid):
            index = int(invalid[0])
            feature = features[index % len(features)]
            raise RequestError(
                f"{place(index)}: expected an integer from {limits.min} to {limits.max} for feature "
                f"'{feature.name}' ({feature.datatype}), received {array[index]}.",
                violation=Violation.OUT_OF_RANGE,
                feature=feature.name,
            )
    return array.astype(dtype, copy=False)


def _validate_categories(features: Sequence[Feature], array: Array, place: Place) -> None:
    """Reject unknown categories, and empty texts of features that are never missing."""
    width = len(features)
    for column, feature in enumerate(features):
        categories = feature.categories
        if categories is None and feature.datatype is not Datatype.BYTES:
            continue
        values = array[column::width].tolist()
        invalid = set(values) - feature.known_values
        if categories is None or feature.handle_unknown == "accept":
            invalid &= {""}
        if invalid:
            row = next(row for row, value in enumerate(values) if value in invalid)
            value = values[row]
            expected = "a value" if value == "" else f"one of {_shown_categories(categories or ())}"
            received = (
                "null or an empty string, and this feature is never missing" if value == "" else shown(value)
            )
            raise RequestError(
                f"{place(row * width + column)}: expected {expected} for feature '{feature.name}', "
                f"received {received}.",
                violation=Violation.MISSING_FEATURE if value == "" else Violation.UNKNOWN_CATEGORY,
                feature=feature.name,
            )


def _validate_times(features: Sequence[Feature], array: Array, place: Place) -> None:
    """Reject texts that are not in the format of a feature with dates or times."""
    width = len(features)
    for column, feature in enumerate(features):
        if feature.format is None:
            continue
        values = array[column::width].tolist()
        rows = [row for row, value in enumerate(values) if value != ""]
        validate = validate_dates if feature.format == "date" else parse_times
        try:
            validate([values[row] for row in rows])
        except TextValueError as error:
            row = rows[error.index]
            expected = "a date as YYYY-MM-DD" if feature.format == "date" else "a date or a time in ISO 8601"
            raise RequestError(
                f"{place(row * width + column)}: expected {expected} for feature '{feature.name}', received "
                f"{shown(values[row])}.",
                violation=Violation.TYPE,
                feature=feature.name,
            ) from None


def _shown_categories(names: Sequence[int | str]) -> str:
    listed = ", ".join(repr(name) for name in names[:_SHOWN_CATEGORIES])
    more = len(names) - _SHOWN_CATEGORIES
    return f"{listed} and {more} more" if more > 0 else listed


def _reject_type(
    values: list[Any], allowed: frozenset[type], expected: str, place: Place, features: Sequence[Feature]
) -> None:
    index = next(i for i, value in enumerate(values) if type(value) not in allowed)
    raise RequestError(
        f"{place(index)}: expected {expected}, received {shown(values[index])}.",
        violation=Violation.MISSING_FEATURE if values[index] is None else Violation.TYPE,
        feature=_feature_name(features, index),
    )


def _feature_name(features: Sequence[Feature], index: int) -> str:
    """Return the name of the feature of an element, from the element's index in row-major order."""
    return features[index % len(features)].name

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Values: from what a client wrote to arrays in the contract's data types, or a sentence that refuses one.

Every check runs on whole arrays; the offending element is looked for only after a check has failed.
It converts no text to numbers, no null to zero and no boolean to one: a value either is what the contract
expects or the request is refused.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Datatype, Feature
from tidegate_serving.errors import RequestError, Violation, shown

Array = NDArray[Any]
Place = Callable[[int], str]
"""Says in a client's words where the element with this index, counted row by row, stood."""

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
"""The Open Inference Protocol's tensor data types ("Tensor Data Types"), little-endian as on the wire."""

_NUMBERS: frozenset[type] = frozenset({int, float, type(None)})
_TEXT: frozenset[type] = frozenset({str, type(None)})


def from_json(values: list[Any], datatype: str, place: Place, features: Sequence[Feature]) -> Array:
    """A flat array from JSON values that are declared to be of a data type.

    Args:
        values: The elements, row by row.
        datatype: The declared type. Floats come as float64, whatever their declared width, so that a number
            beyond FP32 can still be named in the sentence that refuses it; null comes as NaN, or as "" in
            BYTES.
        place: Where an element stood.
        features: The columns, for who counts refusals by feature.

    Raises:
        RequestError: An element is of another JSON type, or not a number of this type.
    """
    dtype = DATATYPES[datatype]
    types = set(map(type, values))
    if dtype.kind == "f":
        if not types <= _NUMBERS:
            _refuse_type(values, _NUMBERS, "a number", place, features)
        try:
            return np.array(values, dtype=np.float64)
        except OverflowError:  # an integer of more than 308 digits, if a parser ever gives one
            raise RequestError(f"{place(0)}: expected numbers within {datatype}.") from None
    if dtype.kind == "b":
        if types - {bool}:
            _refuse_type(values, frozenset({bool}), "true or false", place, features)
        return np.array(values, dtype=np.bool_)
    if dtype.kind == "O":
        if not types <= _TEXT:
            _refuse_type(values, _TEXT, "a string", place, features)
        return np.array(["" if value is None else value for value in values], dtype=object)
    return _integers_from_json(values, types, datatype, place, features)


def _integers_from_json(
    values: list[Any], types: set[type], datatype: str, place: Place, features: Sequence[Feature]
) -> Array:
    dtype = DATATYPES[datatype]
    if not types <= {int, float}:
        _refuse_type(values, frozenset({int, float}), "an integer", place, features)
    if float in types:
        # 3.0 is an integer to JSON. Value by value, because an array of both kinds would round the large
        # ones.
        for index, value in enumerate(values):
            if isinstance(value, float) and not value.is_integer():
                raise RequestError(
                    f"{place(index)}: expected an integer, received {shown(value)}.",
                    violation=Violation.TYPE,
                    feature=_named(features, index),
                )
        values = [int(value) for value in values]
    limits = np.iinfo(dtype)
    if values and (min(values) < limits.min or max(values) > limits.max):
        index = next(i for i, value in enumerate(values) if not limits.min <= value <= limits.max)
        raise RequestError(
            f"{place(index)}: expected an {datatype} from {limits.min} to {limits.max}, received "
            f"{values[index]}.",
            violation=Violation.OUT_OF_RANGE,
            feature=_named(features, index),
        )
    return np.array(values, dtype=dtype)


def fit(features: Sequence[Feature], array: Array, datatype: str, place: Place) -> Array:
    """A ``[rows, features]`` array in the features' one data type, from elements of a declared type.

    Any width of number fits if every value does; integers fit floats; nothing else fits another kind.

    Args:
        features: The columns, all of one data type.
        array: The elements, row by row.
        datatype: What the client declared them to be.
        place: Where an element stood.

    Raises:
        RequestError: The kinds differ, or a value is missing, not finite, beyond the type or an unknown
            category.
    """
    wanted = features[0].datatype
    if not _acceptable(datatype, wanted):
        raise RequestError(
            f"{place(0)}: expected {_expected(wanted)} for feature '{features[0].name}', received "
            f"{datatype}.",
            violation=Violation.TYPE,
            feature=features[0].name if len(features) == 1 else None,
        )
    if wanted is Datatype.BYTES:
        _check_text(features, array, place)
    elif wanted.is_float:
        array = _fit_floats(features, array, place)
    elif wanted.is_integer:
        array = _fit_integers(features, array, place)
    return array.reshape(-1, len(features))


def _acceptable(datatype: str, wanted: Datatype) -> bool:
    kind = DATATYPES[datatype].kind
    if wanted.is_float:
        return kind in "fiu"
    if wanted.is_integer:
        return kind in "iu"
    return datatype == wanted


def _expected(wanted: Datatype) -> str:
    if wanted.is_float:
        return f"{wanted} or another number type"
    return f"{wanted} or another integer type" if wanted.is_integer else str(wanted)


def _fit_floats(features: Sequence[Feature], array: Array, place: Place) -> Array:
    dtype = features[0].datatype.dtype
    fitted = array
    if array.dtype != dtype:
        with np.errstate(over="ignore"):
            fitted = array.astype(dtype)
    finite = np.isfinite(fitted)
    if finite.all():
        return fitted
    missing = np.resize([feature.missing for feature in features], len(array))
    wrong = np.flatnonzero(~finite & ~(np.isnan(array) & missing))
    if len(wrong):
        index = int(wrong[0])
        feature, value = features[index % len(features)], float(array[index])
        if np.isnan(value):
            received, violation = "null or NaN, and this feature is never missing", Violation.MISSING_FEATURE
        elif np.isinf(value):
            received, violation = "infinity", Violation.NON_FINITE
        else:
            received, violation = shown(value), Violation.OUT_OF_RANGE
        limit = np.finfo(fitted.dtype).max
        raise RequestError(
            f"{place(index)}: expected a number between -{limit:.4g} and {limit:.4g} for feature "
            f"'{feature.name}' "
            f"({feature.datatype}), received {received}.",
            violation=violation,
            feature=feature.name,
        )
    return fitted


def _fit_integers(features: Sequence[Feature], array: Array, place: Place) -> Array:
    dtype = features[0].datatype.dtype
    if not np.can_cast(array.dtype, dtype):
        limits = np.iinfo(dtype)
        wrong = np.flatnonzero((array < limits.min) | (array > limits.max))
        if len(wrong):
            index = int(wrong[0])
            feature = features[index % len(features)]
            raise RequestError(
                f"{place(index)}: expected an integer from {limits.min} to {limits.max} for feature "
                f"'{feature.name}' ({feature.datatype}), received {array[index]}.",
                violation=Violation.OUT_OF_RANGE,
                feature=feature.name,
            )
    return array.astype(dtype, copy=False)


def _check_text(features: Sequence[Feature], array: Array, place: Place) -> None:
    width = len(features)
    for column, feature in enumerate(features):
        known = set(feature.categories or ())
        allowed = known | {""} if feature.missing else known
        found = set(array[column::width].tolist())
        wrong = found - allowed if feature.handle_unknown == "reject" else found & ({""} - allowed)
        if wrong:
            row = next(row for row, value in enumerate(array[column::width]) if value in wrong)
            value = array[row * width + column]
            expected = "a value" if value == "" else f"one of {_few(feature.categories or ())}"
            received = (
                "null or an empty string, and this feature is never missing" if value == "" else shown(value)
            )
            raise RequestError(
                f"{place(row * width + column)}: expected {expected} for feature '{feature.name}', "
                f"received {received}.",
                violation=Violation.MISSING_FEATURE if value == "" else Violation.UNKNOWN_CATEGORY,
                feature=feature.name,
            )


def _few(names: Sequence[str]) -> str:
    shown_names = ", ".join(f"'{name}'" for name in names[:10])
    return shown_names if len(names) <= 10 else f"{shown_names} and {len(names) - 10} more"


def _refuse_type(
    values: list[Any], allowed: frozenset[type], expected: str, place: Place, features: Sequence[Feature]
) -> None:
    index = next(i for i, value in enumerate(values) if type(value) not in allowed)
    raise RequestError(
        f"{place(index)}: expected {expected}, received {shown(values[index])}.",
        violation=Violation.MISSING_FEATURE if values[index] is None else Violation.TYPE,
        feature=_named(features, index),
    )


def _named(features: Sequence[Feature], index: int) -> str:
    """The name of the feature that the element with this index, counted row by row, belongs to."""
    return features[index % len(features)].name

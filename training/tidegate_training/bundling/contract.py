# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Builds the contract of a fitted model, golden requests and golden outputs included.

Types, ranges and categories are those of the data. The rest comes from the model's feature policies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Contract, Datatype, Feature, Golden, Scalar, Sensitivity
from tidegate.errors import DataError
from tidegate.outputs import PROBABILITIES
from tidegate.text_values import parse_present_times
from tidegate_training.bundling.features import FeaturePolicy, FeatureTable, Indices
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.bundling.parity import TOLERANCE

Array = NDArray[Any]


_TIME_UNITS = {"date": "datetime64[D]", "date-time": "datetime64[s]"}


def build_contract(model: FittedModel, n_golden_rows: int) -> Contract:
    """Build the contract of a fitted model.

    Ranges and categories come from the training rows, because the pipeline was fitted on those rows alone. A
    feature may be missing in requests if any row of the data misses it.

    Raises:
        DataError: If no test row can be a golden request.
    """
    features = tuple(_build_feature(model, name) for name in model.features.datatypes)
    model = replace(model, features=without_restricted_values(model.features, features))
    rows = select_golden_rows(model, features, n_golden_rows)
    golden = Golden(
        rows=tuple(tuple(row) for row in to_json_rows(model.features, rows)),
        outputs=to_json_outputs(model.predict_rows(rows)),
        tolerance=TOLERANCE,
        scale=model.output_scale,
    )
    return Contract(
        name=model.name,
        task=model.task,
        layout=model.layout,
        features=features,
        outputs=model.outputs,
        labels=model.labels,
        threshold=model.threshold,
        golden=golden,
    )


def without_restricted_values(table: FeatureTable, features: Sequence[Feature]) -> FeatureTable:
    """Replace the values of restricted features by random ones that the contract describes.

    Golden requests are in every bundle, in its server and in load tests, so they hold no value of a
    restricted feature.

    Args:
        table: The rows of the data.
        features: The contract's features, which have ranges and categories.
    """
    columns = dict(table.columns)
    generator = np.random.default_rng(0)
    for feature in features:
        if feature.sensitivity is Sensitivity.RESTRICTED:
            columns[feature.name] = _random_values(feature, columns[feature.name], generator)
    return FeatureTable(columns, table.datatypes)


def _random_values(feature: Feature, column: Array, generator: np.random.Generator) -> Array:
    """Return values within the range or the categories of a feature, ``[rows]``, in the column's type."""
    fractions = generator.random(len(column))
    if feature.is_free_text:
        return np.full(len(column), feature.name, dtype=object)
    if feature.categories is not None:
        categories = np.array(feature.categories, dtype=column.dtype)
        return np.asarray(categories[(fractions * len(categories)).astype(np.intp)])
    if feature.datatype is Datatype.BOOL:
        return fractions < 0.5
    if feature.format is not None:
        first, last = parse_present_times(np.array([feature.minimum, feature.maximum], dtype=object))
        times = first + ((last - first).astype(np.int64) * fractions).astype("timedelta64[us]")
        texts = np.datetime_as_string(times.astype(_TIME_UNITS[feature.format]))
        return np.asarray(texts.astype(object))
    low, high = float(feature.minimum or 0), float(feature.maximum or 0)
    values = low + (high - low) * fractions
    return (values if feature.datatype.is_float else np.round(values)).astype(column.dtype)


def select_golden_rows(model: FittedModel, features: tuple[Feature, ...], count: int) -> Indices:
    """Select the test rows that become golden requests.

    The classes or labels take turns; a regression's rows have even distances. Rows with a category that the
    contract rejects are left out, and rows next to the decision threshold.

    Args:
        model: The model.
        features: The contract's features.
        count: The largest number of rows to select.

    Returns:
        Row numbers in ascending order, ``[golden_rows]``.

    Raises:
        DataError: If the contract rejects every test row.
    """
    accepted = np.ones(len(model.test), np.bool_)
    for feature in features:
        if feature.categories is not None and feature.handle_unknown == "reject":
            values = model.features.columns[feature.name][model.test].tolist()
            accepted &= np.fromiter(
                (value in feature.known_values for value in values), np.bool_, len(values)
            )
    if not accepted.any():
        raise DataError(
            "Every test row has a category that no training row has, so the server would reject every golden "
            "request: give more data, or set handle_unknown: accept for such a feature in features.overrides."
        )
    candidates = _away_from_threshold(model, model.test[accepted])
    strata = model.strata(candidates)
    if strata is None:
        even = np.linspace(0, len(candidates) - 1, min(count, len(candidates)))
        return candidates[np.unique(even.round().astype(np.intp))]
    rank_in_class = np.zeros(len(candidates), dtype=np.intp)
    for label in np.unique(strata):
        rank_in_class[strata == label] = np.arange((strata == label).sum())
    return np.sort(candidates[np.argsort(rank_in_class, kind="stable")][:count])


def _away_from_threshold(model: FittedModel, rows: Indices) -> Indices:
    """Leave out rows whose label the tolerance of their probability may change, unless every row is such."""
    if model.threshold is None:
        return rows
    column = model.labels.index(model.threshold.positive_label)
    probabilities = model.predict_rows(rows)[PROBABILITIES][:, column]
    away = np.abs(probabilities - model.threshold.value) > TOLERANCE
    return rows[away] if away.any() else rows


def to_json_rows(features: FeatureTable, rows: Indices) -> list[list[Scalar]]:
    """Convert the rows with the numbers ``rows``, ``[batch_rows]``, to JSON values; a missing one is None."""
    columns = []
    for name, column in features.columns.items():
        missing = features.missing(name)[rows]
        values = to_json_values(column[rows])
        columns.append([None if absent else value for value, absent in zip(values, missing, strict=True)])
    return [list(row) for row in zip(*columns, strict=True)]


def to_json_outputs(outputs: Mapping[str, Array]) -> dict[str, list[Scalar | list[Scalar]]]:
    """Convert outputs, ``[rows]`` or ``[rows, width]``, to JSON values."""
    return {
        name: [to_json_values(row) for row in values] if values.ndim == 2 else to_json_values(values)
        for name, values in outputs.items()
    }


def to_json_values(values: Array) -> list[Any]:
    """Convert an array ``[values]`` to Python values; a float32 becomes the shortest decimal equal to it."""
    if values.dtype == np.float32:
        return [float(str(value)) for value in values]
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _build_feature(model: FittedModel, name: str) -> Feature:
    policy = model.policies.get(name, FeaturePolicy())
    datatype = model.features.datatypes[name]
    missing = model.features.missing(name)
    present = model.features.columns[name][model.train][~missing[model.train]]
    text = datatype is Datatype.BYTES
    categorical = policy.categorical or (text and not policy.free_text and policy.format is None)
    minimum, maximum = None, None
    if policy.format is not None:
        order = np.argsort(parse_present_times(present), kind="stable")
        minimum, maximum = present[order[0]], present[order[-1]]
    elif not categorical and (datatype.is_float or datatype.is_integer):
        minimum, maximum = to_json_values(np.array([present.min(), present.max()]))
    return Feature(
        name=name,
        datatype=datatype,
        missing=bool(missing.any()),
        minimum=minimum,
        maximum=maximum,
        categories=(policy.order or tuple(sorted(set(present.tolist())))) if categorical else None,
        ordered=policy.order is not None,
        format=policy.format,
        handle_unknown=policy.handle_unknown,
        sensitivity=policy.sensitivity,
    )

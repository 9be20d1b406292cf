# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The capture: the contract as the training data and the fitted pipeline show it.

It describes what was seen and adds nothing; a person's wishes (types, sensitivity, unknown categories) are
the configuration's.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Contract, Datatype, Feature, Golden, Output, Scalar
from tidegate.errors import DataError
from tidegate_training.bundling.outputs import answers_of
from tidegate_training.bundling.parity import TOLERANCE
from tidegate_training.config import FeatureOptions, TrainingConfig
from tidegate_training.split import Indices, Parts
from tidegate_training.table import Table

Array = NDArray[Any]


def capture(
    config: TrainingConfig, table: Table, parts: Parts, pipeline: Any, outputs: tuple[Output, ...]
) -> Contract:
    """The contract of a fitted pipeline, golden questions and answers included.

    Ranges and categories are those of the training part, as these are what the model learned from. A
    feature may be missing where the data misses it in any part.
    """
    features = tuple(_feature(name, config, table, parts.train) for name in table.datatypes)
    rows = golden_rows(features, table, parts.test, config.golden_rows)
    golden = Golden(
        rows=tuple(tuple(row) for row in json_rows(table, rows)),
        outputs=json_answers(answers_of(pipeline, table.batch(rows), outputs)),
        tolerance=TOLERANCE,
    )
    labels = tuple(pipeline.classes_.tolist()) if config.task == "classification" else ()
    return Contract(
        name=config.name, task=config.task, features=features, outputs=outputs, labels=labels, golden=golden
    )


def golden_rows(features: tuple[Feature, ...], table: Table, test: Indices, count: int) -> Indices:
    """Rows of the test part to ask about: each class in turn, or values at even distances, and all allowed.

    A row with a category that the contract rejects is no question.

    Raises:
        DataError: Every row has one.
    """
    allowed = np.ones(len(test), np.bool_)
    for feature in features:
        if feature.categories is not None and feature.handle_unknown == "reject":
            known = [*feature.categories, *([""] if feature.missing else [])]
            allowed &= np.isin(table.columns[feature.name][test].astype(str), known)
    if not allowed.any():
        raise DataError(
            "Every row of the test part has a category that the training part has not, so no question can be "
            "asked that the server would take: give more data, or set unknown: accept for such a feature."
        )
    candidates = test[allowed]
    targets = table.target[candidates]
    if targets.dtype.kind == "f":
        even = np.linspace(0, len(candidates) - 1, min(count, len(candidates)))
        return candidates[np.unique(even.round().astype(np.intp))]
    turns = np.zeros(len(candidates), dtype=np.intp)
    for label in np.unique(targets):
        turns[targets == label] = np.arange((targets == label).sum())
    return np.sort(candidates[np.argsort(turns, kind="stable")][:count])


def json_rows(table: Table, rows: Indices) -> list[list[Scalar]]:
    """Rows as a request has them: missing is None, a number is the shortest that reads back the same."""
    columns = []
    for name, column in table.columns.items():
        missing = table.missing(name)[rows]
        values = json_values(column[rows])
        columns.append([None if absent else value for value, absent in zip(values, missing, strict=True)])
    return [list(row) for row in zip(*columns, strict=True)]


def json_answers(answers: Mapping[str, Array]) -> dict[str, list[Scalar | list[float]]]:
    """Answers as an answer's JSON has them."""
    return {
        name: [json_values(row) for row in values] if values.ndim == 2 else json_values(values)
        for name, values in answers.items()
    }


def json_values(values: Array) -> list[Any]:
    """Numbers, truth values or texts as Python has them; of float32 the shortest decimal that is the same."""
    if values.dtype == np.float32:
        return [float(str(value)) for value in values]
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _feature(name: str, config: TrainingConfig, table: Table, train: Indices) -> Feature:
    options = config.features.overrides.get(name, FeatureOptions())
    datatype = table.datatypes[name]
    missing = table.missing(name)
    seen = table.columns[name][train][~missing[train]]
    ranged = datatype.is_float or datatype.is_integer
    return Feature(
        name=name,
        datatype=datatype,
        missing=bool(missing.any()),
        minimum=json_values(seen.min(keepdims=True))[0] if ranged else None,
        maximum=json_values(seen.max(keepdims=True))[0] if ranged else None,
        categories=tuple(sorted(set(seen.tolist()))) if datatype is Datatype.BYTES else None,
        handle_unknown=options.handle_unknown,
        sensitivity=options.sensitivity or config.features.sensitivity,
    )

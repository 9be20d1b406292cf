# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The baseline: how features and predictions were distributed, for drift to be measured against.

It counts. What is a drift, the server's alerts say.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Contract, Datatype
from tidegate_training.bundling.contract import json_values
from tidegate_training.split import Indices
from tidegate_training.table import Table

Array = NDArray[Any]

BINS = 10


def baseline(
    contract: Contract, table: Table, train: Indices, answers: Mapping[str, Array]
) -> dict[str, Any]:
    """The document ``baseline.json``.

    Args:
        contract: The contract.
        table: The data.
        train: The rows that features are counted on: what the model learned from.
        answers: Answers by output, to rows that the model did not learn from.

    Returns:
        By feature and by output, either ``{"edges", "counts"}``, the counts of values up to the first edge,
        between edges (the upper one included), and above the last, or ``{"categories"}`` with a count each;
        of features also how many are missing. Of scores one histogram a column.
    """
    features = {}
    for feature in contract.features:
        missing = table.missing(feature.name)[train]
        seen = table.columns[feature.name][train][~missing]
        discrete = feature.datatype in (Datatype.BYTES, Datatype.BOOL)
        features[feature.name] = (_categories(seen) if discrete else _histogram(seen)) | {
            "missing": int(missing.sum())
        }
    predictions: dict[str, Any] = {}
    for output in contract.outputs:
        values = answers[output.name]
        if values.ndim == 2:
            predictions[output.name] = [_histogram(values[:, column]) for column in range(values.shape[1])]
        elif contract.labels:
            predictions[output.name] = _categories(values)
        else:
            predictions[output.name] = _histogram(values)
    return {"rows": len(train), "features": features, "predictions": predictions}


def _histogram(values: Array) -> dict[str, Any]:
    """Counts between deciles: with as many values in each, a drift anywhere is seen."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return {"edges": json_values(edges), "counts": counts.tolist()}


def _categories(values: Array) -> dict[str, Any]:
    names, counts = np.unique(values.astype(str), return_counts=True)
    return {"categories": dict(zip(names.tolist(), counts.tolist(), strict=True))}

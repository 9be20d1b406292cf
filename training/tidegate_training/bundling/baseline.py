# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The baseline: distributions of features and predictions, which the server measures drift against.

It counts values. The thresholds for drift are in the server's alerts.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Contract, Datatype
from tidegate.text_values import weekdays
from tidegate_training.bundling.contract import to_json_values
from tidegate_training.bundling.fitted_model import FittedModel

Array = NDArray[Any]

BINS = 10


def build_baseline(model: FittedModel, contract: Contract) -> dict[str, Any]:
    """Build the document ``baseline.json``.

    Features are counted on the training rows, predictions on the held-out rows.

    Returns:
        By feature and by output, ``{"edges", "counts"}`` or ``{"categories"}``. The counts are those of
        values up to the first edge, between two edges (the upper one included), and above the last edge.
        Categories have one count each. The values of a free text are its lengths in characters; those of a
        date are its weekdays, because dates themselves move on. A feature also has the number of missing
        values; an output with scores has one histogram per column.
    """
    features = {}
    for feature in contract.features:
        missing = model.features.missing(feature.name)[model.train]
        present = model.features.columns[feature.name][model.train][~missing]
        if feature.is_free_text:
            # Texts have no bins, but a change of their language, source or form changes their lengths.
            counts = _histogram(np.fromiter(map(len, present), np.int64, len(present)))
        elif feature.format is not None:
            counts = _categories(weekdays(present))
        elif feature.categories is not None or feature.datatype is Datatype.BOOL:
            counts = _categories(present)
        else:
            counts = _histogram(present)
        features[feature.name] = counts | {"missing": int(missing.sum())}
    predictions: dict[str, Any] = {}
    for output in contract.outputs:
        values = model.held_out_outputs[output.name]
        count = _histogram if output.datatype.is_float else _categories
        if values.ndim == 2:
            predictions[output.name] = [count(values[:, column]) for column in range(values.shape[1])]
        else:
            predictions[output.name] = count(values)
    return {"rows": len(model.train), "features": features, "predictions": predictions}


def _histogram(values: Array) -> dict[str, Any]:
    """Count values between deciles: bins of equal counts show a drift in any part of the range."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return {"edges": to_json_values(edges), "counts": counts.tolist()}


def _categories(values: Array) -> dict[str, Any]:
    names, counts = np.unique(values.astype(str), return_counts=True)
    return {"categories": dict(zip(names.tolist(), counts.tolist(), strict=True))}

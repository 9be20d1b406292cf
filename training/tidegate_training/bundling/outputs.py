# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The outputs of a scikit-learn pipeline, in the contract's names and types.

They are the reference for golden outputs, for the parity report and for the metrics.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Batch
from tidegate.contract import Datatype, Output

Array = NDArray[Any]

LABEL = "label"
PROBABILITIES = "probabilities"
SCORES = "scores"
PREDICTION = "prediction"


def prediction_datatype(features: Iterable[Datatype]) -> Datatype:
    """Return the type of a regression's output: 32-bit floats unless a feature has 64-bit floats."""
    return Datatype.FP64 if Datatype.FP64 in features else Datatype.FP32


def detect_outputs(pipeline: Any, batch: Batch, datatypes: Mapping[str, Datatype]) -> tuple[Output, ...]:
    """Detect which outputs a fitted pipeline has.

    Args:
        pipeline: The pipeline.
        batch: One row or more, to measure the number of score columns on.
        datatypes: The features' types by name.
    """
    if not hasattr(pipeline, "classes_"):
        return (Output(name=PREDICTION, datatype=prediction_datatype(datatypes.values())),)
    label = Datatype.BYTES if pipeline.classes_.dtype.kind == "U" else Datatype.INT64
    name = PROBABILITIES if hasattr(pipeline, "predict_proba") else SCORES
    scores = _predict_scores(pipeline, batch, name)
    return (
        Output(name=LABEL, datatype=label),
        Output(name=name, datatype=Datatype.FP32, width=scores.shape[1]),
    )


def predict_outputs(pipeline: Any, batch: Batch, outputs: tuple[Output, ...]) -> dict[str, Array]:
    """Compute a batch with scikit-learn.

    Args:
        pipeline: A fitted pipeline.
        batch: The rows.
        outputs: The outputs to compute.

    Returns:
        By output, ``[rows]``, or ``[rows, width]`` for probabilities and scores.
    """
    values_by_output = {}
    for output in outputs:
        if output.name in (LABEL, PREDICTION):
            values = np.asarray(pipeline.predict(batch.for_sklearn()))
        else:
            values = _predict_scores(pipeline, batch, output.name)
        # A value beyond the type's range becomes infinite; the evaluation rejects it.
        with np.errstate(over="ignore"):
            values_by_output[output.name] = values.astype(output.datatype.dtype)
    return values_by_output


def _predict_scores(pipeline: Any, batch: Batch, name: str) -> Array:
    method = pipeline.predict_proba if name == PROBABILITIES else pipeline.decision_function
    values = np.asarray(method(batch.for_sklearn()))
    return values if values.ndim == 2 else values.reshape(-1, 1)

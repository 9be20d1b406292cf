# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Answers: what scikit-learn itself says of a batch, output by output, in the contract's types.

They are the truth that golden answers, the certificate and the server are measured by.
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
    """The type of a regression's answers: 32 bits, unless a feature has 64-bit floats."""
    return Datatype.FP64 if Datatype.FP64 in features else Datatype.FP32


def outputs_of(pipeline: Any, batch: Batch, datatypes: Mapping[str, Datatype]) -> tuple[Output, ...]:
    """The outputs that a fitted pipeline has, found out on a batch of any length."""
    if not hasattr(pipeline, "classes_"):
        return (Output(name=PREDICTION, datatype=prediction_datatype(datatypes.values())),)
    label = Datatype.BYTES if pipeline.classes_.dtype.kind == "U" else Datatype.INT64
    name = PROBABILITIES if hasattr(pipeline, "predict_proba") else SCORES
    scores = _scores(pipeline, batch, name)
    return (
        Output(name=LABEL, datatype=label),
        Output(name=name, datatype=Datatype.FP32, width=scores.shape[1]),
    )


def answers_of(pipeline: Any, batch: Batch, outputs: tuple[Output, ...]) -> dict[str, Array]:
    """scikit-learn's answers by output: ``[rows]``, or ``[rows, width]`` for scores."""
    found = {}
    for output in outputs:
        if output.name in (LABEL, PREDICTION):
            values = np.asarray(pipeline.predict(batch.for_sklearn()))
        else:
            values = _scores(pipeline, batch, output.name)
        with np.errstate(over="ignore"):  # what is beyond the type becomes infinite, and is refused later
            found[output.name] = values.astype(output.datatype.dtype)
    return found


def _scores(pipeline: Any, batch: Batch, name: str) -> Array:
    method = pipeline.predict_proba if name == PROBABILITIES else pipeline.decision_function
    values = np.asarray(method(batch.for_sklearn()))
    return values if values.ndim == 2 else values.reshape(-1, 1)

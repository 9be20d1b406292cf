# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Compile an estimator without a bundle, and compute its outputs as a server does."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from tidegate.contract import MATRIX, Datatype, Output
from tidegate_training.bundling.compile import open_session, to_onnx

DATATYPES = {np.dtype(np.float32): Datatype.FP32, np.dtype(np.float64): Datatype.FP64}


def run_compiled(estimator: Any, rows: NDArray[Any]) -> list[NDArray[Any]]:
    """Compile a fitted estimator of three features, and compute all its outputs."""
    datatype = DATATYPES[rows.dtype]
    if hasattr(estimator, "predict_proba"):
        classes = estimator.classes_
        outputs = [
            Output(name="label", datatype=Datatype.BYTES if classes.dtype.kind in "UO" else Datatype.INT64),
            Output(name="probabilities", datatype=Datatype.FP32, width=len(classes)),
        ]
    else:
        predicted = np.asarray(estimator.predict(rows[:1]))
        width = predicted.shape[1] if predicted.ndim == 2 and predicted.shape[1] > 1 else None
        outputs = [Output(name="prediction", datatype=datatype, width=width)]
    pipeline = Pipeline([("estimator", estimator)])
    session = open_session(to_onnx(pipeline, "test", dict.fromkeys("abc", datatype), tuple(outputs)))
    return list(session.run(None, {MATRIX: rows}))

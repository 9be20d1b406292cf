# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Fitted models for tests of bundling, described from a pipeline and a batch."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Datatype, Layout, Output, Task
from tidegate_training.bundling import outputs as model_outputs
from tidegate_training.bundling.features import FeaturePolicy, FeatureTable
from tidegate_training.bundling.fitted_model import FittedModel


def sklearn_rows(batch: Batch) -> Any:
    """Return a batch as the input of a pipeline that was fitted without names, or on all columns."""
    layout: Layout = "matrix" if MATRIX in batch.arrays else "frame"
    return batch.for_sklearn(layout, list(batch.arrays))


def detect_task(estimator: Any) -> Task:
    """Return the task of a classifier or a regressor."""
    return "classification" if hasattr(estimator, "classes_") else "regression"


def detect_outputs(estimator: Any, batch: Batch, datatypes: Iterable[Datatype]) -> tuple[Output, ...]:
    """Detect a fitted estimator's outputs on a batch."""
    datatype = model_outputs.prediction_datatype(datatypes)
    return model_outputs.detect_outputs(
        estimator, sklearn_rows(batch), task=detect_task(estimator), datatype=datatype
    )


def predict_outputs(estimator: Any, batch: Batch, outputs: tuple[Output, ...]) -> dict[str, np.ndarray]:
    """Compute a fitted estimator's outputs for a batch."""
    return model_outputs.predict_outputs(estimator, sklearn_rows(batch), outputs)


def fitted_model(
    estimator: Any,
    features: FeatureTable,
    target: np.ndarray,
    *,
    train: np.ndarray,
    test: np.ndarray,
    policies: Mapping[str, FeaturePolicy] | None = None,
) -> FittedModel:
    """Return a fitted estimator with its sample rows; the test rows are held out.

    Args:
        estimator: The fitted estimator.
        features: Feature columns.
        target: ``[rows]``, the true classes or values.
        train: The numbers of the rows that it was fitted on.
        test: The numbers of the rows that golden requests come from.
        policies: By feature, its policy.
    """
    outputs = detect_outputs(estimator, features.batch(train), features.datatypes.values())
    task = detect_task(estimator)
    return FittedModel(
        "test",
        task,
        estimator,
        features.layout,
        outputs,
        tuple(estimator.classes_.tolist()) if task == "classification" else (),
        features,
        target,
        train,
        test,
        held_out_outputs=predict_outputs(estimator, features.batch(test), outputs),
        policies=policies or {},
    )

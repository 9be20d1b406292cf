# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Detects the outputs of a scikit-learn pipeline, and computes them for many rows.

They are the reference for golden outputs, for the parity report and for the metrics.
"""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Datatype, Output, Task
from tidegate.outputs import (
    DISTANCES,
    ITEMS,
    LABEL,
    PREDICTION,
    PROBABILITIES,
    SCORE,
    SCORES,
    STANDARD_DEVIATION,
    conform,
    output_method,
)

Array = NDArray[Any]


OUTLIER = -1
"""The label of an outlier; that of any other row is 1. From scikit-learn, "Novelty and Outlier Detection"."""


QUANTILE = "quantile-"
"""The beginning of the name of a quantile, before its level."""


def detect_labels(pipeline: Any, task: Task, prediction: Output, predicted: Array) -> tuple[int | str, ...]:
    """Return the values of the label: the classes, or the labels that the model gives to rows.

    Args:
        pipeline: The pipeline.
        task: The task.
        prediction: The first output.
        predicted: ``[rows]``, its values for some rows, which show the labels of clusters.
    """
    if task in ("regression", "recommendation") or prediction.width is not None:
        return ()
    if task == "outlier_detection":
        return (OUTLIER, 1)
    return _labels(pipeline.classes_ if task == "classification" else np.unique(predicted))


def prediction_datatype(features: Iterable[Datatype]) -> Datatype:
    """Return the type of outputs in the data's unit: 32-bit floats unless a feature has 64-bit floats."""
    return Datatype.FP64 if Datatype.FP64 in features else Datatype.FP32


def detect_outputs(
    pipeline: Any, rows: Any, *, task: Task, datatype: Datatype, targets: Sequence[str] = ()
) -> tuple[Output, ...]:
    """Detect which outputs a fitted pipeline has.

    Args:
        pipeline: The pipeline.
        rows: The pipeline's input of one row or more, to measure the width of the outputs on.
        task: The task, which decides the outputs' names.
        datatype: The type of outputs in the data's unit.
        targets: The names of the targets, if there are several.
    """
    predicted = np.asarray(pipeline.predict(rows))
    width = predicted.shape[1] if predicted.ndim == 2 and predicted.shape[1] > 1 else None
    names = tuple(targets) if width is not None and len(targets) == width else ()
    if width is not None and not names:
        names = quantile_names(pipeline) or tuple(f"target-{index}" for index in range(width))
    if task == "regression":
        outputs = [Output(name=PREDICTION, datatype=datatype, width=width, labels=names)]
        if "return_std" in inspect.signature(_last_step(pipeline).predict).parameters:
            outputs.append(Output(name=STANDARD_DEVIATION, datatype=datatype, width=width, labels=names))
        return tuple(outputs)
    label_type = Datatype.BYTES if predicted.dtype.kind in "UO" else Datatype.INT64
    if task == "recommendation":
        width = predicted.shape[1]
        return (
            Output(name=ITEMS, datatype=label_type, width=width),
            Output(name=SCORES, datatype=Datatype.FP32, width=width),
        )
    label = Output(name=LABEL, datatype=label_type, width=width, labels=names)
    if task == "outlier_detection":
        return (label, Output(name=SCORE, datatype=datatype))
    if hasattr(pipeline, "predict_proba"):
        return (label, _probabilities(pipeline, rows, names))
    if task == "classification":
        if not hasattr(pipeline, "decision_function"):
            return (label,)
        scores = np.asarray(pipeline.decision_function(rows))
        columns = scores.shape[1] if scores.ndim == 2 else 1
        labels = names or _class_labels(pipeline, columns)
        return (label, Output(name=SCORES, datatype=Datatype.FP32, width=columns, labels=labels))
    if hasattr(pipeline, "transform"):
        width = np.asarray(pipeline.transform(rows)).shape[1]
        return (label, Output(name=DISTANCES, datatype=datatype, width=width))
    return (label,)


def quantile_names(pipeline: Any) -> tuple[str, ...]:
    """Return the names of the quantiles that a regressor of XGBoost or CatBoost predicts; none for others."""
    parameters = _last_step(pipeline).get_params(deep=False)
    levels = parameters.get("quantile_alpha")
    loss, _, options = str(parameters.get("loss_function", "")).partition(":")
    if loss == "MultiQuantile":
        levels = options.removeprefix("alpha=").split(",")
    if not isinstance(levels, list | tuple | np.ndarray) or len(levels) < 2:
        return ()
    return tuple(f"{QUANTILE}{float(level):g}" for level in levels)


def _probabilities(pipeline: Any, rows: Any, targets: tuple[str, ...]) -> Output:
    """Return the output of probabilities. Those of several targets with classes each stand side by side."""
    values = pipeline.predict_proba(rows)
    if isinstance(values, list):
        labels: tuple[int | str, ...] = tuple(
            f"{target}={label}"
            for target, classes in zip(targets, pipeline.classes_, strict=True)
            for label in classes.tolist()
        )
        width = sum(array.shape[1] for array in values)
    else:
        width = values.shape[1]
        labels = targets or _class_labels(pipeline, width)
    return Output(name=PROBABILITIES, datatype=Datatype.FP32, width=width, labels=labels)


def _class_labels(pipeline: Any, width: int) -> tuple[int | str, ...]:
    """Return the classes if each has a column. A margin of two classes has one column, without a name."""
    classes = getattr(pipeline, "classes_", None)
    if classes is None:
        return tuple(range(width))
    return _labels(classes) if len(classes) == width else ()


def _labels(values: Array) -> tuple[int | str, ...]:
    """Return labels as texts or integers. As in scikit-learn, booleans are 0 and 1."""
    return tuple(value if isinstance(value, str) else int(value) for value in values.tolist())


def predict_outputs(pipeline: Any, rows: Any, outputs: Sequence[Output]) -> dict[str, Array]:
    """Compute outputs with scikit-learn.

    Args:
        pipeline: A fitted pipeline.
        rows: The pipeline's input.
        outputs: The outputs to compute.

    Returns:
        By output, ``[rows]``, or ``[rows, width]`` if the output has a width.
    """
    values_by_output = {}
    for output in outputs:
        method = output_method(pipeline, output.name)
        assert method is not None  # detect_outputs found it
        values_by_output[output.name] = conform(output, method(rows))
    return values_by_output


def _last_step(pipeline: Any) -> Any:
    """Return the estimator that predicts: the last step of a pipeline."""
    return pipeline.steps[-1][1] if hasattr(pipeline, "steps") else pipeline

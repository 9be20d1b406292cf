# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The outputs of a fitted scikit-learn pipeline, by the contract's names.

Training computes the reference for every comparison with it, and the server's scikit-learn engine its
responses, so that both mean the same by a name. It imports no scikit-learn.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tidegate.batch import Array
from tidegate.contract import DecisionThreshold, Output

LABEL = "label"
PREDICTION = "prediction"
PROBABILITIES = "probabilities"
SCORES = "scores"
SCORE = "score"
DISTANCES = "distances"
STANDARD_DEVIATION = "standard_deviation"
ITEMS = "items"

_METHODS = {
    LABEL: "predict",
    PREDICTION: "predict",
    PROBABILITIES: "predict_proba",
    SCORES: "decision_function",
    SCORE: "decision_function",
    DISTANCES: "transform",
    STANDARD_DEVIATION: "predict",
    ITEMS: "predict",
}
"""The pipeline's method that computes each output."""


def output_method(pipeline: Any, name: str) -> Callable[[Any], Any] | None:
    """Return the function from a pipeline's input to the values of an output; None if there is none.

    Args:
        pipeline: A fitted pipeline.
        name: The output's name.
    """
    method = getattr(pipeline, _METHODS.get(name, ""), None)
    if method is None or name != STANDARD_DEVIATION:
        return method
    with_deviation = partial(method, return_std=True)
    return lambda rows: with_deviation(rows)[1]


def conform(output: Output, values: Any) -> Array:
    """Convert a model's values to an output's data type and shape.

    A value beyond the range of the type becomes infinite.

    Args:
        output: The output as the contract describes it.
        values: Shape ``[rows]``, ``[rows, 1]`` or ``[rows, width]``, or one array ``[rows, classes]`` per
            target, as scikit-learn returns the probabilities of several targets.

    Returns:
        Shape ``[rows]``, or ``[rows, width]`` if the output has a width.

    Raises:
        ValueError: If the values have another width than the output.
    """
    array = np.hstack(values) if isinstance(values, list) else np.asarray(values)
    if array.dtype != output.datatype.dtype:  # usually equal, and this runs with each engine call
        with np.errstate(over="ignore"):
            array = array.astype(output.datatype.dtype)
    width = output.width or 1
    if array.ndim > 2 or (array.ndim == 2 and array.shape[1] != width) or (array.ndim == 1 and width != 1):
        raise ValueError(f"output '{output.name}': expected {width} values per row, received {array.shape}")
    return array.reshape(-1) if output.width is None else array.reshape(-1, width)


def decide_labels(
    threshold: DecisionThreshold | None, labels: Sequence[int | str], outputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Return a model's outputs with the labels that a decision threshold gives.

    Args:
        threshold: The threshold; None keeps the model's own labels.
        labels: The two labels, in the order of the probabilities' columns.
        outputs: By output, ``[rows]`` or ``[rows, width]``.
    """
    if threshold is None:
        return dict(outputs)
    positive = labels.index(threshold.positive_label)
    choices = np.array([labels[1 - positive], labels[positive]], outputs[LABEL].dtype)
    is_positive = outputs[PROBABILITIES][:, positive] >= threshold.value
    return {**outputs, LABEL: choices[is_positive.astype(np.intp)]}

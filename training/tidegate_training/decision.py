# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The decision threshold of a classification with two classes: set, or tuned on rows.

It chooses the number. :func:`tidegate.outputs.decide_labels` applies it, in training and in servers alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import DecisionThreshold
from tidegate.errors import FieldError
from tidegate.outputs import PROBABILITIES
from tidegate_training.config import Costs, Threshold, ThresholdMetric
from tidegate_training.evaluation.metrics import ratio

Floats = NDArray[np.float64]


def choose_threshold(
    options: Threshold,
    estimator: str,
    labels: Sequence[int | str],
    positive_label: Any,
    outputs: Mapping[str, NDArray[Any]],
    target: NDArray[Any] | None,
    weights: Floats | None = None,
) -> DecisionThreshold:
    """Return the decision threshold: the number that is set, or the best one for these rows.

    Args:
        options: The number, or the criterion.
        estimator: The name of the estimator's class.
        labels: The classes, in the order of the probabilities' columns.
        positive_label: The class that a row gets from the threshold on.
        outputs: By output, ``[rows]`` or ``[rows, width]``: the model's outputs.
        target: ``[rows]``, the true classes; None if they are unknown.
        weights: ``[rows]``, how much each row counts; by default each counts 1.

    Raises:
        FieldError: If the model has no probabilities of two classes, or the rows cannot tune the threshold.
    """
    if len(labels) != 2:
        raise FieldError(
            ("threshold",),
            f"expected two classes, and the {estimator} has {len(labels)}: remove the threshold",
        )
    if PROBABILITIES not in outputs:
        raise FieldError(
            ("threshold",),
            f"{estimator} computes no probabilities with these parameters: remove the threshold, or choose "
            "an algorithm that computes them, such as LogisticRegression",
        )
    value, criterion = options.value, options.metric or options.costs
    if value is None and criterion is not None:
        if target is None:
            raise FieldError(
                ("threshold",),
                "the true classes are unknown, so there is nothing to tune it on: set a number",
            )
        is_positive = target == positive_label
        if is_positive.all() or not is_positive.any():
            raise FieldError(
                ("threshold",),
                "the rows to tune it on have one class only: set a number, or choose other rows",
            )
        probabilities = outputs[PROBABILITIES][:, labels.index(positive_label)]
        value = tune_threshold(criterion, is_positive, probabilities, weights)
    assert value is not None  # the options have a number or a criterion
    return DecisionThreshold(positive_label=positive_label, value=value)


def tune_threshold(
    criterion: ThresholdMetric | Costs,
    is_positive: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    weights: Floats | None = None,
) -> float:
    """Return the threshold with the best metric, or with the lowest cost; of several, the closest to 0.5.

    The candidates are halfway between the probabilities of two rows, so that no row is next to one.

    >>> probabilities = np.array([0.1, 0.2, 0.3, 0.8], np.float32)
    >>> tune_threshold("recall", np.array([False, True, False, True]), probabilities)
    0.15

    Args:
        criterion: A metric of the positive class, or the costs of wrong decisions.
        is_positive: ``[rows]``, whether a row has the positive class.
        probabilities: ``[rows]``, the probability of the positive class.
        weights: ``[rows]``, how much each row counts; by default each counts 1.
    """
    edges = np.unique(np.append(probabilities, np.array([0, 1], np.float32)))
    candidates = edges[:-1] + (edges[1:] - edges[:-1]) / 2
    candidates = candidates[(candidates > 0) & (candidates < 1)]
    counts = np.ones(len(probabilities)) if weights is None else weights
    order = np.argsort(probabilities)
    first = np.searchsorted(probabilities[order], candidates)
    true_positives = _sums_from((counts * is_positive)[order])
    false_positives = _sums_from((counts * ~is_positive)[order])
    goodness = _goodness(
        criterion,
        true_positives[first],
        false_positives[first],
        positives=true_positives[0],
        negatives=false_positives[0],
    )
    best = candidates[np.isclose(goodness, goodness.max(), rtol=1e-12, atol=0)]
    # The shortest decimal of the 32-bit number: the probabilities that clients compare with it are 32-bit.
    return float(str(best[np.argmin(np.abs(best - 0.5))]))


def _sums_from(values: Floats) -> Floats:
    """Return, as ``[values + 1]``, the sum of the values from each number on, and 0 after the last."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _goodness(
    criterion: ThresholdMetric | Costs,
    true_positives: Floats,
    false_positives: Floats,
    *,
    positives: float,
    negatives: float,
) -> Floats:
    """Return a metric, or the negative cost, for each candidate, ``[candidates]``."""
    false_negatives, true_negatives = positives - true_positives, negatives - false_positives
    if isinstance(criterion, Costs):
        return -(criterion.false_positive * false_positives + criterion.false_negative * false_negatives)
    recall = true_positives / positives
    if criterion == "recall":
        return recall
    if criterion == "precision":
        return ratio(true_positives, true_positives + false_positives)
    if criterion == "f1":
        return ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives)
    if criterion == "balanced_accuracy":
        return (recall + true_negatives / negatives) / 2
    return (true_positives + true_negatives) / (positives + negatives)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Fitted models of Keras as estimators with scikit-learn's interface.

A model of Keras has no names of classes: its outputs are numbered. The true classes name them, where they are
given and are not numbers themselves.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import ConfigurationError, DataError
from tidegate_training.networks.estimators import KerasClassifier, KerasRegressor, computes_probabilities
from tidegate_training.networks.translation import count_outputs

Array = NDArray[Any]


def wrap_model(model: Any, X: Any, y: Any, *, classification: bool | None) -> tuple[Any, Any]:
    """Return a fitted model as an estimator, and the true values as it has them.

    Args:
        model: The model of Keras.
        X: ``[rows, features]``, sample rows.
        y: ``[rows]``, the true classes or values; ``[rows, classes]`` of zeros and ones, or
            ``[rows, targets]``; or None.
        classification: Whether the outputs are probabilities of classes; None decides by the last layer.

    Raises:
        ConfigurationError: If the model cannot be bundled.
        DataError: If ``X`` has other values than numbers, or ``y`` other classes than the model.
    """
    n_outputs = count_outputs(model)
    if classification is None:
        classification = computes_probabilities(model)
    try:
        if not classification:
            return KerasRegressor.from_model(model, X), y
        y = _class_numbers(y, n_outputs)
        return KerasClassifier.from_model(model, X, _read_classes(y, max(n_outputs, 2))), y
    except ValueError as error:
        if isinstance(error, ConfigurationError):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"X: a Keras model takes finite numbers alone ({reason}): encode the columns."
        ) from None


def _class_numbers(y: Any, n_outputs: int) -> Any:
    """Return ``[rows]``, the classes; of a column of zeros and ones for each class, the class's number."""
    values = None if y is None else np.asarray(y)
    if values is not None and values.ndim == 2 and values.shape[1] == n_outputs > 1:
        return values.argmax(axis=1)
    return y


def _read_classes(y: Any, count: int) -> Array:
    """Return the classes, ``[classes]``, in the order of the model's outputs."""
    numbers = np.arange(count)
    if y is None:
        return numbers
    classes = np.unique(np.asarray(y))
    if classes.dtype.kind in "iufb" and np.isin(classes, numbers).all():
        return numbers
    if len(classes) != count:
        raise DataError(
            f"y has the classes {', '.join(map(str, classes[:10]))}, and the Keras model computes {count} "
            "probabilities: give the numbers of the outputs, from 0, or rows with each class."
        )
    return classes

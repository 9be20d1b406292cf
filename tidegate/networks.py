# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Fitted neural networks as plain arrays, which numpy computes without the library that fitted them.

They are in the core because servers build them too, under the default policy: the state of a network is the
names of its operations and their numbers. They need scikit-learn, which the extras ``training`` and
``serving`` install; no other module of the core imports this one.

>>> layers = [
...     {"kind": "dense", "kernel": np.array([[2.0]]), "bias": np.array([-1.0])},
...     {"kind": "relu", "slope": 0.0, "maximum": None, "threshold": 0.0},
... ]
>>> NetworkRegressor(layers, n_features=1).predict([[0.0], [3.0]]).tolist()
[0.0, 5.0]
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

Array = NDArray[Any]

Layer = Mapping[str, Any]
"""The name of an operation as ``kind``, and its parameters by name."""


def _relu(rows: Array, slope: Any, maximum: float | None, threshold: float) -> Array:
    """Compute Keras's ReLU: zero up to the threshold, or a slope below it, and at most the maximum."""
    positive = np.where(rows > threshold, rows, 0.0)
    if maximum is not None:
        positive = np.clip(positive, 0.0, maximum)
    return np.asarray(positive - slope * np.maximum(threshold - rows, 0.0))


def _elu(rows: Array, alpha: float) -> Array:
    return np.where(rows > 0, rows, alpha * np.expm1(np.minimum(rows, 0.0)))


def _gelu(rows: Array) -> Array:
    from scipy.special import erf

    return np.asarray(rows * (1 + erf(rows * np.sqrt(0.5))) / 2)


def _sigmoid(rows: Array) -> Array:
    from scipy.special import expit

    return np.asarray(expit(rows))


def _softmax(rows: Array) -> Array:
    from scipy.special import softmax

    return np.asarray(softmax(rows, axis=1))


def _softplus(rows: Array) -> Array:
    return np.logaddexp(rows, 0.0)


def _layer_normalization(rows: Array, epsilon: float) -> Array:
    centered = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + epsilon))


OPERATIONS: Mapping[str, Callable[..., Array]] = {
    "affine": lambda rows, scale, offset: rows * scale + offset,
    "clip": lambda rows, low, high: rows.clip(low, high),
    "complement": lambda rows: np.hstack([1 - rows, rows]),
    "dense": lambda rows, kernel, bias: rows @ kernel + bias,
    "elu": _elu,
    "exponential": np.exp,
    "gelu": _gelu,
    "hard_silu": lambda rows: rows * np.clip(rows / 6 + 0.5, 0.0, 1.0),
    "layer_normalization": _layer_normalization,
    "mish": lambda rows: rows * np.tanh(_softplus(rows)),
    "relu": _relu,
    "sigmoid": _sigmoid,
    "silu": lambda rows: rows * _sigmoid(rows),
    "softmax": _softmax,
    "softplus": _softplus,
    "softsign": lambda rows: rows / (1 + np.abs(rows)),
    "tanh": np.tanh,
}
"""By name, the functions from rows ``[rows, width]`` and parameters to rows ``[rows, other_width]``."""


class _Network(BaseEstimator):
    """A network that is fitted already.

    Args:
        layers: The operations in order.
        n_features: The number of features.
    """

    def __init__(self, layers: Sequence[Layer], n_features: int) -> None:
        self.layers = layers
        self.n_features = n_features

    @property
    def n_features_in_(self) -> int:
        """The number of features."""
        return self.n_features

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> Self:
        """Do nothing: the network is fitted already."""
        return self

    def _compute(self, X: Any) -> Array:
        """Compute the values of the last layer, ``[rows, width]``, in 64 bits.

        Rows are rounded to 32 bits first, as Keras does.
        """
        from sklearn.utils import check_array

        values = check_array(X, dtype=np.float32).astype(np.float64)
        if values.shape[1] != self.n_features:
            raise ValueError(f"X has {values.shape[1]} features, expected {self.n_features}")
        # A row far outside of the training range may overflow. It is infinite then, or NaN.
        with np.errstate(over="ignore", invalid="ignore"):
            for layer in self.layers:
                parameters = {name: value for name, value in layer.items() if name != "kind"}
                values = OPERATIONS[layer["kind"]](values, **parameters)
        return np.asarray(values)


class NetworkClassifier(ClassifierMixin, _Network):
    """A network whose last layer has the probability of each class.

    Args:
        layers: The operations in order.
        n_features: The number of features.
        classes: ``[classes]``, the classes in the order of their probabilities.
    """

    def __init__(self, layers: Sequence[Layer], n_features: int, classes: Array) -> None:
        super().__init__(layers, n_features)
        self.classes = classes

    @property
    def classes_(self) -> Array:
        """The classes, ``[classes]``, in the order of their probabilities."""
        return self.classes

    def predict_proba(self, X: Any) -> Array:
        """Compute the probabilities of the classes, ``[rows, classes]``."""
        return self._compute(X)

    def predict(self, X: Any) -> Array:
        """Compute the classes, ``[rows]``."""
        return np.asarray(self.classes[self.predict_proba(X).argmax(axis=1)])


class NetworkRegressor(RegressorMixin, _Network):
    """A network whose last layer has the value of each target."""

    def predict(self, X: Any) -> Array:
        """Compute the values, ``[rows]``, or ``[rows, targets]`` of several targets."""
        values = self._compute(X)
        return values[:, 0] if values.shape[1] == 1 else values

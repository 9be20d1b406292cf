# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Keras with scikit-learn's interface: estimators that fit dense layers, or the model of a function.

The same data, parameters, seed and versions give the same weights. The fitted layers are arrays
(:mod:`tidegate.networks`), which predict in 64 bits, as a server does. They are compared with Keras's own
predictions, which have 32 bits.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from tidegate.errors import ConfigurationError
from tidegate.networks import Layer, NetworkClassifier, NetworkRegressor
from tidegate_training.networks.backend import import_keras, library_versions
from tidegate_training.networks.fitting import fit_keras
from tidegate_training.networks.options import NetworkOptions
from tidegate_training.networks.translation import count_features, read_layers

Array = NDArray[Any]

MAX_DIFFERENCE = 1e-3
"""Largest accepted difference of the layers in 64 bits from Keras's 32, in units of the outputs' deviation.
Rounding alone is far smaller, and a layer with another meaning differs by far more."""

MAX_COMPARED_ROWS = 2_000
"""Largest number of rows to compare with Keras."""


class KerasEstimator(BaseEstimator):
    """An estimator that Keras fits.

    Args:
        layers: The hidden layers, each with ``units`` and optionally ``activation``, ``batch_normalization``
            and ``dropout``.
        builder: Instead of layers, a function of the numbers of features and outputs that returns a model, or
            its place ``package.module:name``. A model that is compiled keeps its optimizer and its loss.
        l1: The L1 penalty on the weights of every dense layer.
        l2: The L2 penalty on the weights of every dense layer.
        optimizer: The optimizer's name.
        learning_rate: The learning rate; by default the optimizer's own.
        epochs: The largest number of epochs.
        batch_size: The number of rows of a step.
        early_stopping: ``patience``, the number of epochs without a lower loss, and ``validation``, the
            fraction of the rows that the loss is measured on. By default no epoch is left out.
        random_state: The seed.

    Attributes:
        model_: The model of Keras.
        network_: The same layers as arrays.
        history_: By name, the loss after each epoch.
    """

    network_: Any

    def __init__(
        self,
        layers: Sequence[Mapping[str, Any]] | None = None,
        *,
        builder: str | Callable[[int, int], Any] | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        optimizer: str = "adam",
        learning_rate: float | None = None,
        epochs: int = 100,
        batch_size: int = 32,
        early_stopping: Mapping[str, Any] | None = None,
        random_state: int | None = None,
    ) -> None:
        self.layers = layers
        self.builder = builder
        self.l1 = l1
        self.l2 = l2
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.random_state = random_state

    @classmethod
    def validate_parameters(cls, parameters: Mapping[str, Any]) -> None:
        """Check parameters before any data is read.

        Raises:
            FieldError: If one has a wrong value.
        """
        NetworkOptions.parse(parameters)

    @property
    def n_features_in_(self) -> int:
        """The number of features."""
        check_is_fitted(self, "network_")
        return int(self.network_.n_features_in_)

    def predict(self, X: Any) -> Array:
        """Predict the classes or values of rows ``[rows, features]``."""
        check_is_fitted(self, "network_")
        return np.asarray(self.network_.predict(X))

    def _fit_keras(self, X: Array, y: Array, weights: Any, classes: Array | None) -> Any:
        """Fit a model, keep its history, and return it."""
        fitted = fit_keras(NetworkOptions.parse(self.get_params(deep=False)), X, y, weights, classes)
        self.history_ = fitted.history
        return fitted.model


class KerasClassifier(ClassifierMixin, KerasEstimator):
    """A classifier that Keras fits, with the parameters of :class:`KerasEstimator`."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the network.

        Args:
            X: ``[rows, features]``.
            y: ``[rows]``, the classes.
            sample_weight: ``[rows]``, or None for equal weights.
        """
        rows = check_array(X, dtype=np.float32)
        classes, numbers = np.unique(np.asarray(y), return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y has the class '{classes[0]}' alone, expected two or more")
        return self._use(self._fit_keras(rows, numbers, sample_weight, classes), rows, classes)

    @classmethod
    def from_model(cls, model: Any, X: Any, classes: Array) -> Self:
        """Return the classifier of a fitted model.

        Args:
            model: The model of Keras.
            X: ``[rows, features]``, rows to compare with Keras.
            classes: ``[classes]``, in the order of the model's outputs.

        Raises:
            ConfigurationError: If the model has other layers than a bundle holds, or other outputs than the
                probabilities of these classes.
        """
        return cls()._use(model, check_array(X, dtype=np.float32), classes)

    def _use(self, model: Any, rows: Array, classes: Array) -> Self:
        layers = read_verified_layers(model, rows)
        self.model_, self.classes_ = model, classes
        self.network_ = NetworkClassifier(
            [*layers, *_probability_layers(model, layers, len(classes))], count_features(model), classes
        )
        return self

    def predict_proba(self, X: Any) -> Array:
        """Compute the probabilities of the classes, ``[rows, classes]``."""
        check_is_fitted(self, "network_")
        return np.asarray(self.network_.predict_proba(X))


class KerasRegressor(RegressorMixin, KerasEstimator):
    """A regressor that Keras fits, with the parameters of :class:`KerasEstimator`."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the network.

        Args:
            X: ``[rows, features]``.
            y: ``[rows]`` or ``[rows, targets]``, the values.
            sample_weight: ``[rows]``, or None for equal weights.
        """
        rows = check_array(X, dtype=np.float32)
        values = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        return self._use(self._fit_keras(rows, values, sample_weight, None), rows)

    @classmethod
    def from_model(cls, model: Any, X: Any) -> Self:
        """Return the regressor of a fitted model; ``X`` ``[rows, features]`` is compared with Keras.

        Raises:
            ConfigurationError: If the model has other layers than a bundle holds.
        """
        return cls()._use(model, check_array(X, dtype=np.float32))

    def _use(self, model: Any, rows: Array) -> Self:
        self.model_ = model
        self.network_ = NetworkRegressor(read_verified_layers(model, rows), count_features(model))
        return self


def without_keras(pipeline: Any) -> Any:
    """Return a fitted pipeline that ends in the layers of its network. The pipeline itself stays as it is."""
    if not isinstance(pipeline[-1], KerasEstimator):
        return pipeline
    pipeline = copy.copy(pipeline)
    pipeline.steps = [*pipeline.steps[:-1], (pipeline.steps[-1][0], pipeline[-1].network_)]
    return pipeline


def keras_libraries(pipeline: Any) -> dict[str, str]:
    """Return the versions of Keras and its backend, if a pipeline ends in a network; otherwise nothing."""
    return library_versions() if isinstance(pipeline[-1], KerasEstimator) else {}


def read_verified_layers(model: Any, rows: Array) -> list[Layer]:
    """Read the operations of a model, and compare their outputs for some rows with Keras's.

    Args:
        model: The model of Keras.
        rows: ``[rows, features]``, in 32 bits.

    Raises:
        ConfigurationError: If a layer is not supported, the rows have another width, or the outputs differ.
    """
    layers, n_features = read_layers(model), count_features(model)
    if rows.shape[1] != n_features:
        raise ConfigurationError(
            f"The Keras model takes {n_features} features, and X has {rows.shape[1]}: give the columns that "
            "it was fitted on, in their order."
        )
    rows = rows[:: -(-len(rows) // MAX_COMPARED_ROWS)]
    computed = import_keras().ops.convert_to_numpy(model(rows, training=False))
    expected = np.asarray(computed, np.float64)
    actual = NetworkRegressor(layers, n_features).predict(rows).reshape(expected.shape)
    scale = np.maximum(np.abs(expected), expected.std(axis=0))
    differs = ~(np.abs(actual - expected) <= MAX_DIFFERENCE * scale)
    if differs.any():
        row, column = np.unravel_index(int(differs.argmax()), differs.shape)
        raise ConfigurationError(
            f"The Keras model computes {expected[row, column]:.6g} for a row, and its layers in 64 bits "
            f"{actual[row, column]:.6g}: fit it to scaled features, because Keras sums in 32 bits."
        )
    return layers


def computes_probabilities(model: Any) -> bool:
    """Return whether a model's outputs are probabilities, or logits of which its loss makes them."""
    return _ends_in_probabilities(model, read_layers(model)[-1]["kind"])


def _ends_in_probabilities(model: Any, last: str) -> bool:
    losses = import_keras().tree.flatten(getattr(model, "loss", None))  # one, a list, or a dictionary
    return last in ("softmax", "sigmoid") or any(getattr(loss, "from_logits", False) for loss in losses)


def _probability_layers(model: Any, layers: Sequence[Layer], n_classes: int) -> list[Layer]:
    """Return the operations from a model's outputs to the probability of each class."""
    width = int(model.output_shape[-1])
    if width != n_classes and (width, n_classes) != (1, 2):
        raise ConfigurationError(
            f"The Keras model has {width} outputs for {n_classes} classes: expected one output per class, or "
            "one output of two classes."
        )
    last = layers[-1]["kind"]
    if not _ends_in_probabilities(model, last):
        raise ConfigurationError(
            f"The Keras model ends in the operation {last}, and a classification in "
            "probabilities: give the last layer the activation softmax, or sigmoid of one output, or "
            "compile the model with a loss that has from_logits=True."
        )
    if width == 1:
        return [*([] if last == "sigmoid" else [{"kind": "sigmoid"}]), {"kind": "complement"}]
    if last == "sigmoid":
        raise ConfigurationError(
            "The Keras model ends in a sigmoid of each class, whose probabilities have no common sum: use "
            "softmax, because several labels per row are not supported."
        )
    return [] if last == "softmax" else [{"kind": "softmax"}]

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Builds a Keras model from options, and fits it. It changes no random state of the caller's."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import ConfigurationError
from tidegate_training.networks.backend import import_keras
from tidegate_training.networks.options import LayerOptions, NetworkOptions
from tidegate_training.networks.translation import count_features, count_outputs, is_keras_model, read_layers

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class FittedKeras:
    """A fitted model of Keras, and by name, the loss after each epoch."""

    model: Any
    history: dict[str, list[float]]


def fit_keras(
    options: NetworkOptions, X: Array, y: Array, weights: Any = None, classes: Array | None = None
) -> FittedKeras:
    """Build a model and fit it.

    Targets of a regression are standardized for the layers of the options, which end in the inverse.

    Args:
        options: The options.
        X: ``[rows, features]``, in 32 bits.
        y: ``[rows]``, the numbers of the classes; or ``[rows]`` or ``[rows, targets]``, the values.
        weights: ``[rows]``, or None for equal weights.
        classes: ``[classes]``, or None for a regression.

    Raises:
        ConfigurationError: If Keras is not installed, or the builder returns another model than expected.
        ValueError: If the loss becomes infinite or NaN, or the rows cannot be divided for early stopping.
    """
    keras = import_keras()
    with warnings.catch_warnings():
        # They are about calls inside of Keras.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _fit_keras(keras, options, X, y, weights, classes)


def _fit_keras(
    keras: Any, options: NetworkOptions, X: Array, y: Array, weights: Any, classes: Array | None
) -> FittedKeras:
    y = y if classes is not None else y.reshape(len(y), -1)
    n_outputs = y.shape[1] if classes is None else 1 if len(classes) == 2 else len(classes)
    with _seeded(keras, options.random_state):
        if options.builder is not None:
            model = _call_builder(options.builder, X.shape[1], n_outputs)
            read_layers(model)  # an unsupported layer is found before the model is fitted
            compile_model(keras, model, options, classification=classes is not None)
            return FittedKeras(model, _fit(keras, model, options, X, y, weights, classes))
        activation = None if classes is None else "sigmoid" if n_outputs == 1 else "softmax"
        model = _build_model(keras, options, X.shape[1], n_outputs, activation)
        compile_model(keras, model, options, classification=classes is not None)
        if classes is not None:
            return FittedKeras(model, _fit(keras, model, options, X, y, weights, classes))
        mean, deviation = y.mean(axis=0), y.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        history = _fit(keras, model, options, X, (y - mean) / deviation, weights, None)
        rescaling = keras.layers.Rescaling(deviation.tolist(), mean.tolist())
        return FittedKeras(keras.Sequential([keras.Input((X.shape[1],)), *model.layers, rescaling]), history)


@contextmanager
def _seeded(keras: Any, seed: int | None) -> Iterator[None]:
    """Seed the generators that Keras uses, and give the caller's their state back."""
    if seed is None:
        yield
        return
    state, numpy_state = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)


def _build_model(
    keras: Any, options: NetworkOptions, n_features: int, n_outputs: int, activation: str | None
) -> Any:
    def dense(units: int, **arguments: Any) -> Any:
        penalty = keras.regularizers.L1L2(options.l1, options.l2) if options.l1 or options.l2 else None
        return keras.layers.Dense(units, kernel_regularizer=penalty, **arguments)

    def hidden(layer: LayerOptions) -> Iterator[Any]:
        yield dense(layer.units)
        if layer.batch_normalization:
            yield keras.layers.BatchNormalization()
        yield keras.layers.Activation(layer.activation)
        if layer.dropout:
            yield keras.layers.Dropout(layer.dropout)

    layers = [part for layer in options.layers or [] for part in hidden(layer)]
    return keras.Sequential([keras.Input((n_features,)), *layers, dense(n_outputs, activation=activation)])


def _call_builder(builder: str | Callable[[int, int], Any], n_features: int, n_outputs: int) -> Any:
    place = builder if isinstance(builder, str) else f"{builder.__module__}:{builder.__qualname__}"
    function = _import_builder(builder) if isinstance(builder, str) else builder
    try:
        model = function(n_features, n_outputs)
    except Exception as error:  # a function runs any code
        raise ConfigurationError(
            f"The builder {place} fails for {n_features} features and {n_outputs} outputs: {_cause(error)}."
        ) from None
    if not is_keras_model(model):
        raise ConfigurationError(
            f"The builder {place} returns a {type(model).__name__}, expected a model of Keras."
        )
    if (received := (count_features(model), count_outputs(model))) != (n_features, n_outputs):
        raise ConfigurationError(
            f"The builder {place} returns a model of {received[0]} features and {received[1]} outputs, "
            f"expected {n_features} and {n_outputs}."
        )
    return model


def _import_builder(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # a module runs any code
        raise ConfigurationError(
            f"The builder {path} cannot be imported: {_cause(error)}; install its package, or add its folder "
            "to PYTHONPATH."
        ) from None
    if not callable(found):
        raise ConfigurationError(
            f"The builder {path} does not exist: the module {module} has no function {name}."
        )
    return found


def _cause(error: Exception) -> str:
    """Describe an exception of a user's code in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')[:300]}"


def compile_model(keras: Any, model: Any, options: NetworkOptions, *, classification: bool) -> None:
    """Set optimizer and loss of a model that has none.

    Args:
        keras: The module.
        model: The model.
        options: The options.
        classification: Whether the model computes probabilities, or logits.
    """
    if model.compiled:
        return
    rate = {} if options.learning_rate is None else {"learning_rate": options.learning_rate}
    optimizer = keras.optimizers.get({"class_name": options.optimizer, "config": rate})
    if not classification:
        loss = keras.losses.MeanSquaredError()
    else:
        from_logits = read_layers(model)[-1]["kind"] not in ("sigmoid", "softmax")
        binary = count_outputs(model) == 1
        kind = keras.losses.BinaryCrossentropy if binary else keras.losses.SparseCategoricalCrossentropy
        loss = kind(from_logits=from_logits)
    model.compile(optimizer=optimizer, loss=loss)


def _fit(
    keras: Any, model: Any, options: NetworkOptions, X: Array, y: Array, weights: Any, classes: Array | None
) -> dict[str, list[float]]:
    """Fit a compiled model, and return the loss after each epoch.

    Args:
        keras: The module.
        model: The model.
        options: The options.
        X: ``[rows, features]``.
        y: ``[rows]`` or ``[rows, targets]``.
        weights: ``[rows]``, or None.
        classes: ``[classes]``, or None for a regression.
    """
    from sklearn.model_selection import train_test_split

    arrays = (X, y.astype(np.float32)) if weights is None else (X, y.astype(np.float32), np.asarray(weights))
    callbacks, validation, monitored = [keras.callbacks.TerminateOnNaN()], None, "loss"
    if (stopping := options.early_stopping) is not None:
        train, held_out = train_test_split(
            np.arange(len(X)),
            test_size=stopping.validation,
            random_state=options.random_state,
            stratify=None if classes is None else y,
        )
        validation, arrays = tuple(a[held_out] for a in arrays), tuple(a[train] for a in arrays)
        monitored = "val_loss"
        callbacks.append(
            keras.callbacks.EarlyStopping("val_loss", patience=stopping.patience, restore_best_weights=True)
        )
    history = model.fit(
        arrays[0],
        arrays[1],
        sample_weight=arrays[2] if len(arrays) > 2 else None,
        validation_data=validation,
        batch_size=options.batch_size,
        epochs=options.epochs,
        callbacks=callbacks,
        verbose=0,
    ).history
    losses = {name: [float(value) for value in values] for name, values in history.items()}
    if not np.isfinite([*losses["loss"], *losses[monitored]]).all():
        raise ValueError(
            f"the loss is not finite after epoch {len(losses['loss'])}: scale the features, or set a lower "
            "learning_rate"
        )
    return losses

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the layers of a fitted Keras model into the operations of :mod:`tidegate.networks`.

A model is a chain of layers on one row of numbers: ``Sequential``, or functional without branches. A layer of
another kind is rejected by its name.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import ConfigurationError
from tidegate.networks import Layer
from tidegate_training.networks.backend import import_keras

Array = NDArray[Any]


def is_keras_model(model: Any) -> bool:
    """Return whether an object is a model of Keras, without an import of Keras."""
    return any(
        base.__name__ == "Model" and base.__module__.startswith("keras.") for base in type(model).__mro__
    )


def count_features(model: Any) -> int:
    """Return the number of features of a row.

    Raises:
        ConfigurationError: If the model does not take rows of numbers, or has never been called.
    """
    inputs = _require_one(model, "input")
    shape = tuple(inputs.shape)
    if len(shape) != 2 or shape[1] is None:
        raise _rejection(
            f"its input has the shape {shape}, expected (None, features): a request has one "
            "number per feature"
        )
    return int(shape[1])


def count_outputs(model: Any) -> int:
    """Return the number of values that a model computes per row.

    Raises:
        ConfigurationError: If the model has several outputs, or outputs that are not rows of numbers.
    """
    shape = tuple(_require_one(model, "output").shape)
    if len(shape) != 2 or shape[1] is None:
        raise _rejection(f"its output has the shape {shape}, expected (None, values)")
    return int(shape[1])


def read_layers(model: Any) -> list[Layer]:
    """Read the operations of a model.

    Raises:
        ConfigurationError: If a layer has no counterpart, or the layers are not one chain.
    """
    count_features(model)
    count_outputs(model)
    return [operation for layer in _chain(model) for operation in _read_layer(layer)]


def _rejection(reason: str) -> ConfigurationError:
    return ConfigurationError(f"The Keras model cannot be bundled: {reason}.")


def _require_one(model: Any, kind: str) -> Any:
    tensors = getattr(model, f"{kind}s", None)
    if tensors is None:
        raise _rejection(
            "it has no graph of layers: use keras.Sequential or the functional API, with an Input layer or "
            "after fit"
        )
    tensors = list(tensors)
    if len(tensors) != 1:
        raise _rejection(f"it has {len(tensors)} {kind}s, expected one")
    return tensors[0]


def _chain(model: Any) -> Iterator[Any]:
    """Return the layers from the input to the output; those of a model inside of the model included."""
    tensor, first = _require_one(model, "output"), _require_one(model, "input")
    layers: list[Any] = []
    while tensor is not first:
        layer, node_index, _ = tensor._keras_history
        inputs = layer._inbound_nodes[node_index].input_tensors
        if len(inputs) != 1:
            if not inputs:
                break
            raise _rejection(f"the layer '{layer.name}' joins {len(inputs)} branches, expected one chain")
        layers.append(layer)
        tensor = inputs[0]
    for layer in reversed(layers):
        if is_keras_model(layer):
            yield from _chain(layer)
        else:
            yield layer


def _read_layer(layer: Any) -> Iterator[Layer]:
    kind = type(layer)
    read = LAYERS.get(kind.__name__) if kind.__module__.startswith("keras.src.layers.") else None
    if read is None:
        raise _rejection(
            f"the layer '{layer.name}' is a {kind.__name__}, expected one of {', '.join(sorted(LAYERS))}"
        )
    if layer.compute_dtype != "float32":
        raise _rejection(
            f"the layer '{layer.name}' computes in {layer.compute_dtype}, expected float32: fit the model "
            "with the dtype policy float32"
        )
    yield from read(layer)


def _nothing(layer: Any) -> Iterator[Layer]:
    """Return no operation: the layer does nothing after fitting."""
    return iter(())


def _keep_shape(layer: Any) -> Iterator[Layer]:
    if len(layer.input.shape) != 2 or len(layer.output.shape) != 2:
        raise _rejection(f"the layer '{layer.name}' changes the shape of a row, expected rows of numbers")
    return iter(())


def _dense(layer: Any) -> Iterator[Layer]:
    if getattr(layer, "quantization_mode", None) is not None:
        raise _rejection(f"the layer '{layer.name}' is quantized, expected weights in float32")
    kernel = _numbers(layer.kernel)
    bias = _numbers(layer.bias) if layer.use_bias else np.zeros(kernel.shape[1])
    yield {"kind": "dense", "kernel": kernel, "bias": bias}
    yield from _activation(layer)


def _activation(layer: Any) -> Iterator[Layer]:
    """Return the operations of a layer's activation: a function of Keras, or a layer."""
    activation = layer.activation
    if hasattr(activation, "compute_dtype"):
        yield from _read_layer(activation)
        return
    name, module = getattr(activation, "__name__", ""), getattr(activation, "__module__", "")
    if name not in _ACTIVATIONS or not module.startswith("keras.src.activations."):
        raise _rejection(
            f"the layer '{layer.name}' has the activation {name or type(activation).__name__}, expected one "
            f"of {', '.join(sorted(_ACTIVATIONS))}"
        )
    yield from _ACTIVATIONS[name]


def _relu_layer(layer: Any) -> Iterator[Layer]:
    maximum = layer.max_value
    yield _relu(
        _number(layer.negative_slope), None if maximum is None else _number(maximum), _number(layer.threshold)
    )


def _leaky_relu(layer: Any) -> Iterator[Layer]:
    yield _relu(_number(layer.negative_slope))


def _prelu(layer: Any) -> Iterator[Layer]:
    yield _relu(_numbers(layer.alpha))


def _elu(layer: Any) -> Iterator[Layer]:
    yield {"kind": "elu", "alpha": _number(layer.alpha)}


def _softmax(layer: Any) -> Iterator[Layer]:
    _require_last_axis(layer)
    yield {"kind": "softmax"}


def _batch_normalization(layer: Any) -> Iterator[Layer]:
    _require_last_axis(layer)
    deviation = np.sqrt(_numbers(layer.moving_variance) + layer.epsilon)
    scale = (_numbers(layer.gamma) if layer.scale else 1.0) / deviation
    offset = _numbers(layer.beta) if layer.center else 0.0
    yield {"kind": "affine", "scale": scale, "offset": offset - _numbers(layer.moving_mean) * scale}


def _layer_normalization(layer: Any) -> Iterator[Layer]:
    _require_last_axis(layer)
    yield {"kind": "layer_normalization", "epsilon": _number(layer.epsilon)}
    width = int(layer.input.shape[-1])
    scale = _numbers(layer.gamma) if layer.gamma is not None else np.ones(width)
    offset = _numbers(layer.beta) if layer.beta is not None else np.zeros(width)
    yield {"kind": "affine", "scale": scale, "offset": offset}


def _normalization(layer: Any) -> Iterator[Layer]:
    if layer.mean is None:
        raise _rejection(
            f"the layer '{layer.name}' has no mean: call its method adapt, or give mean and variance"
        )
    mean, variance = _numbers(layer.mean).ravel(), _numbers(layer.variance).ravel()
    # From Keras's source: its backend's epsilon, 1e-7 unless changed, is the smallest deviation.
    deviation = np.maximum(np.sqrt(variance), import_keras().config.epsilon())
    if layer.invert:
        yield {"kind": "affine", "scale": deviation, "offset": mean}
    else:
        yield {"kind": "affine", "scale": 1 / deviation, "offset": -mean / deviation}


def _rescaling(layer: Any) -> Iterator[Layer]:
    scale, offset = np.atleast_1d(_numbers(layer.scale)), np.atleast_1d(_numbers(layer.offset))
    yield {"kind": "affine", "scale": scale, "offset": offset}


def _require_last_axis(layer: Any) -> None:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if [axis % 2 for axis in axes] != [1]:
        raise _rejection(f"the layer '{layer.name}' has the axis {layer.axis}, expected the last one")


def _numbers(values: Any) -> Array:
    """Return weights in 64 bits; they have 32, as Keras computes with them."""
    tensor = getattr(values, "value", values)  # of a variable
    return np.asarray(import_keras().ops.convert_to_numpy(tensor), np.float32).astype(np.float64)


def _number(value: Any) -> float:
    """Return a parameter as the 32-bit number that Keras computes with."""
    return float(np.float32(value))


def _relu(slope: Any, maximum: float | None = None, threshold: float = 0.0) -> Layer:
    return {"kind": "relu", "slope": slope, "maximum": maximum, "threshold": threshold}


_SIXTH: Layer = {"kind": "affine", "scale": np.full(1, 1 / 6), "offset": np.full(1, 0.5)}
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""From Klambauer et al., Self-Normalizing Neural Networks, 2017."""

_ACTIVATIONS: Mapping[str, list[Layer]] = {
    "celu": [{"kind": "elu", "alpha": 1.0}],
    "elu": [{"kind": "elu", "alpha": 1.0}],
    "exponential": [{"kind": "exponential"}],
    "gelu": [{"kind": "gelu"}],
    "hard_sigmoid": [_SIXTH, {"kind": "clip", "low": 0.0, "high": 1.0}],
    "hard_tanh": [{"kind": "clip", "low": -1.0, "high": 1.0}],
    "hard_silu": [{"kind": "hard_silu"}],
    "leaky_relu": [_relu(0.2)],
    "linear": [],
    "mish": [{"kind": "mish"}],
    "relu": [_relu(0.0)],
    "relu6": [_relu(0.0, 6.0)],
    "selu": [
        {"kind": "elu", "alpha": _SELU_ALPHA},
        {"kind": "affine", "scale": np.full(1, _SELU_SCALE), "offset": np.zeros(1)},
    ],
    "sigmoid": [{"kind": "sigmoid"}],
    "silu": [{"kind": "silu"}],
    "softmax": [{"kind": "softmax"}],
    "softplus": [{"kind": "softplus"}],
    "softsign": [{"kind": "softsign"}],
    "tanh": [{"kind": "tanh"}],
}
"""By name, the operations of Keras's activation functions with their default parameters."""

LAYERS: Mapping[str, Callable[[Any], Iterator[Layer]]] = {
    "Activation": _activation,
    "ActivityRegularization": _nothing,
    "AlphaDropout": _nothing,
    "BatchNormalization": _batch_normalization,
    "Dense": _dense,
    "Dropout": _nothing,
    "ELU": _elu,
    "Flatten": _keep_shape,
    "GaussianDropout": _nothing,
    "GaussianNoise": _nothing,
    "Identity": _nothing,
    "InputLayer": _nothing,
    "LayerNormalization": _layer_normalization,
    "LeakyReLU": _leaky_relu,
    "Normalization": _normalization,
    "PReLU": _prelu,
    "ReLU": _relu_layer,
    "Rescaling": _rescaling,
    "Softmax": _softmax,
}
"""By class of Keras, the functions that return a layer's operations."""

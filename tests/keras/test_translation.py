# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Each kind of layer computes the same in Keras, as arrays, and compiled."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.pipeline import Pipeline

from tidegate.contract import MATRIX, Datatype, Output
from tidegate.errors import ConfigurationError
from tidegate.networks import OPERATIONS, NetworkRegressor
from tidegate_training.bundling.compile import open_session, to_onnx
from tidegate_training.networks.translation import read_layers

WIDTH = 6
ROWS = np.random.default_rng(0).normal(0, 3, (64, WIDTH)).astype(np.float32)

LAYERS: dict[str, Callable[[], Any]] = {
    **{
        name: lambda name=name: layers.Activation(name)
        for name in (
            *("celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu"),
            *("linear", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus"),
            *("softsign", "tanh"),
        )
    },
    "ReLU": lambda: layers.ReLU(max_value=2.0, negative_slope=0.3, threshold=0.5),
    "ReLU-limited": lambda: layers.ReLU(max_value=1.5),
    "ReLU-threshold": lambda: layers.ReLU(threshold=1.0),
    "LeakyReLU": lambda: layers.LeakyReLU(negative_slope=0.25),
    "PReLU": layers.PReLU,
    "ELU": lambda: layers.ELU(alpha=0.7),
    "Softmax": layers.Softmax,
    "Dense-layer": lambda: layers.Dense(4, activation=layers.LeakyReLU(0.1), use_bias=False),
    "BatchNormalization": layers.BatchNormalization,
    "BatchNormalization-plain": lambda: layers.BatchNormalization(scale=False, center=False, epsilon=0.1),
    "LayerNormalization": layers.LayerNormalization,
    "LayerNormalization-plain": lambda: layers.LayerNormalization(scale=False, center=False),
    "Normalization": lambda: layers.Normalization(mean=np.arange(WIDTH), variance=np.arange(WIDTH)),
    "Normalization-inverse": lambda: layers.Normalization(mean=2.0, variance=9.0, invert=True),
    "Rescaling": lambda: layers.Rescaling(0.1, offset=-3.0),
    "Rescaling-columns": lambda: layers.Rescaling(list(range(WIDTH)), offset=[1.0] * WIDTH),
    "Flatten": layers.Flatten,
    "Identity": layers.Identity,
    "Dropout": lambda: layers.Dropout(0.5),
    "AlphaDropout": lambda: layers.AlphaDropout(0.5),
    "GaussianDropout": lambda: layers.GaussianDropout(0.5),
    "GaussianNoise": lambda: layers.GaussianNoise(0.5),
    "ActivityRegularization": lambda: layers.ActivityRegularization(l2=0.1),
    "Sequential": lambda: keras.Sequential([layers.Dense(WIDTH, "relu"), layers.BatchNormalization()]),
}


def randomize(model: Any) -> Any:
    """Give every weight a random value; positive ones are variances too."""
    generator = np.random.default_rng(1)
    model.set_weights([generator.uniform(0.2, 1.5, weight.shape) for weight in model.weights])
    return model


def compiled(network: NetworkRegressor, rows: Any, width: int) -> Any:
    pipeline = Pipeline([("estimator", network)])
    outputs = (Output(name="prediction", datatype=Datatype.FP64, width=width if width > 1 else None),)
    datatypes = {f"x{index}": Datatype.FP32 for index in range(rows.shape[1])}
    [values] = open_session(to_onnx(pipeline, "test", datatypes, outputs)).run(None, {MATRIX: rows})
    return values.reshape(-1, width)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_equal_in_keras_numpy_and_onnx(name: str) -> None:
    layer = LAYERS[name]()
    model = randomize(keras.Sequential([keras.Input((WIDTH,)), layer]))
    operations = read_layers(model)
    assert {operation["kind"] for operation in operations} <= set(OPERATIONS)
    network = NetworkRegressor(operations, WIDTH)
    expected, actual = np.asarray(model(ROWS, training=False)), network.predict(ROWS)
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-5)
    assert np.ptp(actual) > 0
    for factor in (1, 1e3):
        rows = ROWS * np.float32(factor)
        values = network.predict(rows)
        finite = np.isfinite(values).all(axis=1)
        onnx = compiled(network, rows, values.shape[1])
        np.testing.assert_allclose(onnx[finite], values[finite], rtol=1e-7, atol=1e-7 * factor)


def test_functional_model_is_read_from_input_to_output() -> None:
    inputs = keras.Input((WIDTH,))
    hidden = layers.Dense(4, "tanh")(inputs)
    outputs = layers.Dense(1)(layers.Dropout(0.2)(keras.Sequential([layers.Dense(3), layers.ReLU()])(hidden)))
    model = randomize(keras.Model(inputs, outputs))
    network = NetworkRegressor(read_layers(model), WIDTH)
    np.testing.assert_allclose(network.predict(ROWS), np.asarray(model(ROWS))[:, 0], rtol=2e-5)


def branches() -> Any:
    inputs = keras.Input((WIDTH,))
    return keras.Model(inputs, layers.Add(name="sum")([layers.Dense(2)(inputs), layers.Dense(2)(inputs)]))


def several_outputs() -> Any:
    inputs = keras.Input((WIDTH,))
    return keras.Model(inputs, [layers.Dense(2)(inputs), layers.Dense(1)(inputs)])


class Doubling(layers.Dense):
    """A layer of one's own that extends one of Keras."""


class Subclassed(keras.Model):
    """A model without a graph of layers."""


REJECTED: dict[str, tuple[Callable[[], Any], str]] = {
    "lambda": (lambda: [layers.Lambda(lambda x: x, name="own")], "the layer 'own' is a Lambda, expected"),
    "convolution": (lambda: [layers.Reshape((WIDTH, 1)), layers.Conv1D(2, 2), layers.Flatten()], "Reshape"),
    "own-layer": (lambda: [Doubling(2)], "is a Doubling"),
    "own-function": (lambda: [layers.Dense(2, activation=keras.ops.sin)], "has the activation sin"),
    "float16": (lambda: [layers.Dense(2, dtype="mixed_float16")], "computes in float16, expected float32"),
    "axis": (lambda: [layers.Softmax(axis=0)], "has the axis 0, expected the last"),
    "matrix": (lambda: [layers.Reshape((2, 3))], r"its output has the shape \(None, 2, 3\)"),
    "branches": (branches, "the layer 'sum' joins 2 branches"),
    "outputs": (several_outputs, "it has 2 outputs, expected one"),
    "subclassed": (Subclassed, "it has no graph of layers"),
    "unbuilt": (lambda: keras.Sequential([layers.Dense(2)]), "it has no graph of layers"),
    "image": (
        lambda: keras.Sequential([keras.Input((8, 8)), layers.Flatten()]),
        r"its input has the shape \(None, 8, 8\)",
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_read_layers_rejects_other_models_by_name(name: str) -> None:
    build, message = REJECTED[name]
    model = build()
    if isinstance(model, list):
        model = keras.Sequential([keras.Input((WIDTH,)), *model])
    with pytest.raises(ConfigurationError, match=f"The Keras model cannot be bundled: .*{message}"):
        read_layers(model)

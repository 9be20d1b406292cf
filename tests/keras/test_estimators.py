# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import random
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.base import clone

from tidegate.errors import ConfigurationError, FieldError
from tidegate_training.networks.estimators import KerasClassifier, KerasRegressor

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(240, 4)).astype(np.float32)
VALUES = 1000 + 300 * ROWS[:, 0] - 200 * np.abs(ROWS[:, 1]) + RANDOM.normal(0, 5, 240)
NAMES = np.array(["low", "middle", "top"])[np.digitize(VALUES, [700, 1000])]
LAYERS = [{"units": 12, "activation": "tanh"}, {"units": 6, "batch_normalization": True, "dropout": 0.1}]


def classifier(**parameters: Any) -> KerasClassifier:
    defaults: dict[str, Any] = {"layers": LAYERS, "epochs": 16, "batch_size": 60, "random_state": 3}
    return KerasClassifier(**(defaults | parameters))


def weights(estimator: Any) -> list[Any]:
    return [layer["kernel"] for layer in estimator.network_.layers if layer["kind"] == "dense"]


def build(n_features: int, n_outputs: int) -> Any:
    """Build a model that ends in logits, without a loss."""
    return keras.Sequential(
        [keras.Input((n_features,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(n_outputs)]
    )


def build_compiled(n_features: int, n_outputs: int) -> Any:
    """Build a model with the optimizer and the loss of its author."""
    model = build(n_features, n_outputs)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def build_text(n_features: int, n_outputs: int) -> str:
    return "model"


def build_wrong(n_features: int, n_outputs: int) -> Any:
    return build(n_features, n_outputs + 1)


def build_convolution(n_features: int, n_outputs: int) -> Any:
    layers = [keras.layers.Reshape((n_features, 1)), keras.layers.Flatten(), keras.layers.Dense(n_outputs)]
    return keras.Sequential([keras.Input((n_features,)), *layers])


def fail(n_features: int, n_outputs: int) -> Any:
    raise RuntimeError("no model today")


def test_classifier_predicts_as_keras_does() -> None:
    estimator = classifier(epochs=100).fit(ROWS, NAMES)
    probabilities = estimator.predict_proba(ROWS)
    assert estimator.classes_.tolist() == ["low", "middle", "top"]
    np.testing.assert_allclose(probabilities, np.asarray(estimator.model_(ROWS)), atol=1e-5)
    np.testing.assert_array_equal(estimator.predict(ROWS), estimator.classes_[probabilities.argmax(axis=1)])
    assert estimator.score(ROWS, NAMES) > 0.7
    assert estimator.history_["loss"][-1] < estimator.history_["loss"][0]


def test_classifier_of_two_classes_has_one_output() -> None:
    estimator = classifier().fit(ROWS, VALUES > 900)
    assert estimator.model_.output_shape == (None, 1)
    assert estimator.predict_proba(ROWS).shape == (240, 2)
    np.testing.assert_allclose(estimator.predict_proba(ROWS).sum(axis=1), 1)
    assert set(estimator.predict(ROWS).tolist()) <= {True, False}


def test_regressor_standardizes_its_target() -> None:
    estimator = KerasRegressor(LAYERS[:1], epochs=200, batch_size=60, random_state=0).fit(ROWS, VALUES)
    assert estimator.score(ROWS, VALUES) > 0.8
    expected = np.asarray(estimator.model_(ROWS))[:, 0]
    np.testing.assert_allclose(estimator.predict(ROWS), expected, rtol=1e-5)


def test_regressor_of_several_targets_has_a_column_for_each() -> None:
    targets = np.column_stack([VALUES, -VALUES])
    assert KerasRegressor(LAYERS, epochs=2, batch_size=60).fit(ROWS, targets).predict(ROWS).shape == (240, 2)


def test_fit_is_reproducible_by_its_seed_and_leaves_the_caller_s() -> None:
    random.seed(5)
    state = random.getstate()
    first, again, other = (classifier(random_state=seed).fit(ROWS, NAMES) for seed in (3, 3, 4))
    for one, two in zip(weights(first), weights(again), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(weights(first)[0], weights(other)[0])
    assert random.getstate() == state


def test_early_stopping_ends_before_the_last_epoch_with_the_best() -> None:
    stopping = {"patience": 2, "validation": 0.25}
    estimator = classifier(epochs=200, learning_rate=0.05, early_stopping=stopping).fit(ROWS, NAMES)
    losses = estimator.history_["val_loss"]
    assert len(losses) < 200
    assert int(np.argmin(losses)) == len(losses) - 3


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_penalties_make_weights_smaller(penalty: str) -> None:
    def size(**parameters: Any) -> float:
        kernels = weights(classifier(**parameters).fit(ROWS, NAMES))
        return float(sum(np.abs(kernel).sum() for kernel in kernels))

    assert size(**{penalty: 0.1}) < 0.9 * size()


def test_layers_are_dense_normalization_activation_and_dropout() -> None:
    model = classifier(epochs=1).fit(ROWS, NAMES).model_
    assert [type(layer).__name__ for layer in model.layers] == [
        *("Dense", "Activation"),
        *("Dense", "BatchNormalization", "Activation", "Dropout"),
        "Dense",
    ]
    assert model.layers[5].rate == 0.1


def test_sample_weights_change_the_fit() -> None:
    plain = classifier().fit(ROWS, NAMES)
    heavy = np.where(NAMES == "top", 50.0, 0.1)
    weighted = classifier(early_stopping={}).fit(ROWS, NAMES, sample_weight=heavy)
    assert (weighted.predict(ROWS) == "top").sum() > (plain.predict(ROWS) == "top").sum()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "rmsprop", "sgd"])
def test_optimizer_has_the_learning_rate(optimizer: str) -> None:
    model = classifier(optimizer=optimizer, learning_rate=0.02, epochs=1).fit(ROWS, NAMES).model_
    assert type(model.optimizer).__name__.lower() == optimizer
    assert float(model.optimizer.learning_rate) == pytest.approx(0.02)


@pytest.mark.parametrize("builder", [build, build_compiled, f"{__name__}:build"])
def test_builder_makes_the_model(builder: Any) -> None:
    estimator = classifier(layers=None, builder=builder, epochs=20).fit(ROWS, NAMES)
    assert [layer.units for layer in estimator.model_.layers] == [5, 3]
    assert type(estimator.model_.optimizer).__name__ == ("SGD" if builder is build_compiled else "Adam")
    np.testing.assert_allclose(estimator.predict_proba(ROWS).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ("missing.module:build", "missing.module:build cannot be imported: ModuleNotFoundError"),
        (f"{__name__}:absent", "has no function absent"),
        (build_text, "returns a str, expected a model of Keras"),
        (build_wrong, "a model of 4 features and 4 outputs, expected 4 and 3"),
        (build_convolution, "is a Reshape, expected one of"),
        (fail, "fails for 4 features and 3 outputs: RuntimeError: no model today"),
    ],
    ids=["missing", "absent", "text", "outputs", "layer", "exception"],
)
def test_builder_of_another_model_is_one_sentence(builder: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        classifier(layers=None, builder=builder).fit(ROWS, NAMES)


def test_fit_that_diverges_is_an_error() -> None:
    estimator = KerasRegressor([{"units": 4}], optimizer="sgd", learning_rate=1e9, batch_size=60)
    with pytest.raises(ValueError, match="the loss is not finite after epoch"):
        estimator.fit(ROWS * 1e6, VALUES)


def test_fit_rejects_one_class_and_wrong_options() -> None:
    with pytest.raises(ValueError, match="y has the class 'a' alone"):
        classifier().fit(ROWS, ["a"] * len(ROWS))
    with pytest.raises(FieldError, match=r"layers\.0\.units"):
        classifier(layers=[{"units": 0}]).fit(ROWS, NAMES)


def test_estimator_is_cloned_with_its_parameters() -> None:
    estimator = classifier(l2=0.5)
    assert clone(estimator).get_params() == estimator.get_params()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""From a network to a server: by train.yaml, as a model in memory, and as a file."""

import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import keras
import numpy as np
import pandas as pd
import pytest
import typer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from tests.support.servers import serving
from tests.support.trained_bundles import imported_by_loading
from tests.support.training import configuration, mixed_configuration, write_loans
from tidegate.bundle import ONNX, Bundle, verify
from tidegate.errors import ConfigurationError, DataError
from tidegate.trust.policy import Policy
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import EngineChoice
from tidegate_serving.loading.loader import load
from tidegate_serving.selfcheck import verify_golden_outputs
from tidegate_training import bundle
from tidegate_training.cli import bundle as bundle_command
from tidegate_training.model_file import read_model
from tidegate_training.networks.estimators import KerasClassifier, computes_probabilities
from tidegate_training.run import TrainingResult, train

# Keras's own, when it saves weights, and a function.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl", "ignore:The object being serialized")

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(120, 3)).astype(np.float32)
VALUES = ROWS[:, 0] - ROWS[:, 1] ** 2
LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)
UP = VALUES > 0
CLASSES = ["label", "probabilities"]
FRAME = pd.DataFrame(ROWS, columns=["a", "b", "c"])
NETWORK = {
    "name": "keras",
    "parameters": {
        "layers": [{"units": 8, "dropout": 0.1}, {"units": 4, "activation": "gelu"}],
        "epochs": 12,
        "batch_size": 45,
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A classification of three classes."""
    return train(configuration(algorithm=NETWORK), tmp_path_factory.mktemp("iris") / "bundle")


def make_model(last: str | None, n_outputs: int, loss: Any = None) -> Any:
    """Make a model with random weights, which is as good as a fitted one."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(6, "relu"), keras.layers.Dense(n_outputs, last)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    if loss is not None:
        model.compile("adam", loss)
    return model


def verdict(sealed: Bundle) -> Any:
    return json.loads(sealed.read("parity.json"))["verdict"]


def test_train_compiles_a_network_and_names_its_versions(trained: TrainingResult) -> None:
    manifest = trained.bundle.manifest
    assert trained.parity.verdict == "equal"
    assert manifest.algorithm == "KerasClassifier"
    assert manifest.versions["keras"] == keras.__version__
    assert "jax" in manifest.versions
    assert not trained.evaluation.warnings
    assert "equal to the layers of Keras as arrays on" in trained.bundle.read("MODEL_CARD.md").decode()


def test_train_is_reproducible(trained: TrainingResult, tmp_path: Path) -> None:
    again = train(configuration(algorithm=NETWORK), tmp_path / "bundle")
    assert again.bundle.digest == trained.bundle.digest


def test_server_computes_the_network_without_keras(trained: TrainingResult, tmp_path: Path) -> None:
    golden = trained.bundle.contract.golden
    with serving(trained.bundle, tmp_path / "log") as server:
        url = f"{server.http}/v1/models/{server.name}:predict"
        served = httpx.post(url, json={"instances": [list(row) for row in golden.rows]}, timeout=30).json()
    assert served["predictions"] == golden.outputs["label"]
    assert imported_by_loading(trained.bundle.path, ("keras", "jax", "sklearn")) == "[]"


@pytest.mark.parametrize("choice", [EngineChoice.ONNX, EngineChoice.SKLEARN])
def test_both_engines_load_under_the_default_policy(trained: TrainingResult, choice: EngineChoice) -> None:
    verify_golden_outputs(load(trained.bundle.path, trained.bundle.digest, Policy(), choice), Limits())


def test_train_puts_a_network_behind_mixed_columns(tmp_path: Path) -> None:
    write_loans(tmp_path)
    task = {"task": "regression", "target": "loss", "features": {"drop": ["default"]}}
    config = mixed_configuration(algorithm=NETWORK, **task)
    result = train(config, tmp_path / "bundle", base_dir=tmp_path)
    assert (result.bundle.manifest.algorithm, result.parity.verdict) == ("KerasRegressor", "equal")


def test_train_serves_free_text_with_the_layers_as_arrays(tmp_path: Path) -> None:
    lines = [f"{'good nice' if row % 2 else 'bad slow'} word{row},{row % 2}" for row in range(60)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,y", *lines]))
    config = configuration(
        data={"path": "texts.csv"},
        target="y",
        features={"overrides": {"text": {"free_text": True}}},
        algorithm=NETWORK,
    )
    result = train(config, tmp_path / "bundle", base_dir=tmp_path)
    assert result.parity.verdict == "not compiled"
    loaded = load(result.bundle.path, result.bundle.digest, Policy())
    assert loaded.engine.name == "sklearn"
    verify_golden_outputs(loaded, Limits())


def test_train_with_a_builder_that_is_missing_names_it(tmp_path: Path) -> None:
    algorithm = {"name": "keras", "parameters": {"builder": "missing_package:build"}}
    with pytest.raises(ConfigurationError, match="missing_package:build cannot be imported"):
        train(configuration(algorithm=algorithm), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("model", "y", "outputs", "labels"),
    [
        (lambda: make_model("softmax", 3), np.digitize(VALUES, [-1, 0]), CLASSES, (0, 1, 2)),
        (lambda: make_model("softmax", 2), np.where(UP, "up", "down"), CLASSES, ("down", "up")),
        (lambda: make_model("softmax", 2), np.eye(2)[UP.astype(int)], CLASSES, (0, 1)),
        (lambda: make_model("sigmoid", 1), UP.astype(int), CLASSES, (0, 1)),
        (
            lambda: make_model(None, 1, keras.losses.BinaryCrossentropy(from_logits=True)),
            None,
            CLASSES,
            (0, 1),
        ),
        (lambda: make_model(None, 1), VALUES, ["prediction"], ()),
        (lambda: make_model(None, 2), np.column_stack([VALUES, -VALUES]), ["prediction"], ()),
    ],
    ids=["softmax", "texts", "one-hot", "sigmoid", "logits", "value", "values"],
)
@pytest.mark.parametrize("X", [ROWS, FRAME], ids=["matrix", "frame"])
def test_bundle_of_a_model_is_compiled(
    model: Any, y: Any, outputs: list[str], labels: tuple[Any, ...], X: Any, tmp_path: Path
) -> None:
    fitted = model()
    sealed = bundle(fitted, X, y, name="net", directory=tmp_path / "bundle")
    assert verdict(sealed) == "equal"
    assert [output.name for output in sealed.contract.outputs] == outputs
    assert sealed.contract.labels == labels
    golden = sealed.contract.golden
    values = np.array(golden.outputs[outputs[-1]], np.float64).reshape(len(golden.rows), -1)
    expected = np.asarray(fitted(np.array(golden.rows, np.float32)), np.float64)
    if labels and fitted.compiled:
        expected = 1 / (1 + np.exp(-expected))
    np.testing.assert_allclose(values[:, -expected.shape[1] :], expected, atol=1e-5)


def test_bundle_of_a_pipeline_that_ends_in_a_network(tmp_path: Path) -> None:
    network = KerasClassifier([{"units": 4}], epochs=2, batch_size=60, random_state=0)
    pipeline = make_pipeline(StandardScaler(), network).fit(FRAME, UP.astype(int))
    sealed = bundle(pipeline, FRAME, UP.astype(int), name="net", directory=tmp_path / "bundle")
    assert (verdict(sealed), sealed.manifest.versions["keras"]) == ("equal", keras.__version__)


@pytest.mark.parametrize(
    ("model", "X", "y", "task", "message"),
    [
        (lambda: make_model("softmax", 3), ROWS[:, :2], None, None, "takes 3 features, and X has 2"),
        (lambda: make_model("softmax", 3), [["a", "b", "c"]], None, None, "X: .* takes finite numbers"),
        (lambda: make_model("softmax", 3), ROWS, ["a", "b"] * 60, None, "the classes a, b, .* 3 prob"),
        (lambda: make_model("sigmoid", 3), ROWS, None, None, "ends in a sigmoid of each class"),
        (lambda: make_model(None, 3), ROWS, None, "classification", "ends in the operation dense"),
    ],
    ids=["width", "texts", "classes", "sigmoids", "values"],
)
def test_bundle_rejects_what_does_not_fit_in_one_sentence(
    model: Any, X: Any, y: Any, task: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises((ConfigurationError, DataError), match=message):
        bundle(model(), X, y, name="net", directory=tmp_path / "bundle", task=task)
    assert not (tmp_path / "bundle").exists()


# Files


def test_bundle_command_seals_a_keras_file(tmp_path: Path) -> None:
    model = make_model(None, 2, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(tmp_path / "model.keras")
    FRAME.assign(y=np.where(VALUES > 0, "up", "down")).to_csv(tmp_path / "rows.csv", index=False)
    app = typer.Typer()
    app.command()(bundle_command)
    options = (
        "--data",
        tmp_path / "rows.csv",
        "--target",
        "y",
        "--name",
        "net",
        "--out",
        tmp_path / "bundle",
    )
    result = CliRunner().invoke(app, [str(value) for value in (tmp_path / "model.keras", *options)])
    assert result.exit_code == 0, result.output
    sealed = verify(tmp_path / "bundle")
    assert ONNX in sealed
    assert {str(feature.datatype) for feature in sealed.contract.features} == {"FP32"}
    assert sealed.contract.labels == ("down", "up")


def functional_model() -> Any:
    rows = keras.Input((3,))
    return keras.Model(rows, keras.layers.Dense(3, "softmax")(rows))


@pytest.mark.parametrize(
    "model",
    [functional_model, lambda: dense_with(bias_initializer=keras.initializers.Constant(-2.3))],
    ids=["functional", "constant"],
)
def test_read_model_reads_what_keras_saves(model: Any, tmp_path: Path) -> None:
    saved = model()
    saved.save(tmp_path / "model.keras")
    read: Any = read_model(tmp_path / "model.keras", Policy(), allow_pickle=False).estimator
    assert type(read) is type(saved)
    np.testing.assert_array_equal(read(ROWS), saved(ROWS))


@pytest.mark.parametrize(
    "nest", [lambda loss: [loss], lambda loss: {"out": loss}], ids=["list", "dictionary"]
)
@pytest.mark.parametrize("from_logits", [True, False])
def test_logits_are_found_in_several_losses(nest: Any, from_logits: bool, tmp_path: Path) -> None:
    model = dense_with(name="out")
    model.compile(loss=nest(keras.losses.BinaryCrossentropy(from_logits=from_logits)))
    model.save(tmp_path / "model.keras")
    read: Any = read_model(tmp_path / "model.keras", Policy(), allow_pickle=False).estimator
    assert (computes_probabilities(model), computes_probabilities(read)) == (from_logits, from_logits)


def lambda_model() -> Any:
    layers = [keras.layers.Lambda(lambda rows: rows * 2), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((3,)), *layers])


def dense_with(**arguments: Any) -> Any:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, **arguments)])


@keras.saving.register_keras_serializable(package="own")
class Doubling(keras.layers.Dense):
    """A layer of one's own."""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda_model, "cannot be bundled: it holds a Lambda, .* A Lambda is code"),
        (lambda: dense_with(activation=lambda rows: rows), "it holds a lambda, .* A Lambda is code"),
        (lambda: keras.Sequential([keras.Input((3,)), Doubling(1)]), "holds a Doubling"),
        (lambda: keras.Sequential([keras.Input((3,)), keras.layers.Reshape((3, 1))]), "holds a Reshape"),
    ],
    ids=["lambda", "function", "own", "reshape"],
)
def test_read_model_rejects_classes_before_keras_opens_them(
    model: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model().save(tmp_path / "model.keras")
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras opened the file"))
    with pytest.raises(ConfigurationError, match=message):
        read_model(tmp_path / "model.keras", Policy(), allow_pickle=False)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-400])


def damage_weights(file: Path) -> None:
    rewrite(file, "model.weights.h5", b"\x89HDF no")


def damage_config(file: Path) -> None:
    rewrite(file, "config.json", b"{")


def remove_layers(file: Path) -> None:
    rewrite(file, "config.json", b'{"module": "keras", "class_name": "Sequential", "config": 1}')


def add_member(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("assets/evil.txt", b"")


def rewrite(file: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for member, old in members.items():
            archive.writestr(member, content if member == name else old)


@pytest.mark.parametrize(
    "damage", [truncate, damage_weights, damage_config, remove_layers, add_member], ids=lambda f: f.__name__
)
def test_read_model_of_a_damaged_keras_file_is_one_sentence(damage: Any, tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    make_model("softmax", 3).save(file)
    damage(file)
    message = r"model\.keras cannot be read as a model of Keras \(.+save it again"
    with pytest.raises(ConfigurationError, match=message):
        read_model(file, Policy(), allow_pickle=False)

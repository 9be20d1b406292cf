# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Models of CatBoost: compiled as the library computes, read from files, trained, and served without it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.support.compiled import run_compiled
from tests.support.trained_bundles import imported_by_loading
from tests.support.training import configuration, mixed_configuration, write_loans
from tidegate.bundle import METRICS, PARITY
from tidegate.contract import Datatype, Output
from tidegate.errors import ConfigurationError
from tidegate.trust.policy import TRUSTED_TYPES, Policy
from tidegate_serving.codecs.request import Limits
from tidegate_serving.loading.loader import load
from tidegate_serving.selfcheck import verify_golden_outputs
from tidegate_training import bundle
from tidegate_training.booster_file import read_booster
from tidegate_training.bundling.compile import NotCompiledError, to_onnx
from tidegate_training.run import train

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(300, 3))
GAPS = np.where(RANDOM.random(ROWS.shape) < 0.2, np.nan, ROWS)
VALUES = np.maximum(5 + ROWS[:, 0] - ROWS[:, 1] * ROWS[:, 2], 0.1)
CLASSES = np.digitize(VALUES, [4.0, 6.0])
TARGETS = np.stack([VALUES, ROWS[:, 1]], axis=1)


def small(kind: type, **parameters: Any) -> Any:
    defaults = {
        "iterations": 6,
        "depth": 4,
        "thread_count": 1,
        "verbose": False,
        "allow_writing_files": False,
    }
    return kind(**defaults | parameters)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [ROWS, GAPS], ids=["complete", "gaps"])
@pytest.mark.parametrize(
    "parameters",
    [
        *(
            {"loss_function": name}
            for name in (
                *(
                    "RMSE",
                    "MAE",
                    "MAPE",
                    "Quantile:alpha=0.2",
                    "Expectile:alpha=0.3",
                    "Huber:delta=1",
                    "LogCosh",
                ),
                *("Lq:q=3", "Poisson", "Tweedie:variance_power=1.5", "MultiQuantile:alpha=0.1,0.9"),
            )
        ),
        {"grow_policy": "Lossguide"},
        {"grow_policy": "Depthwise"},
        {"nan_mode": "Max"},
        {"boosting_type": "Ordered", "depth": 6, "iterations": 30},
        {"loss_function": "MultiRMSE"},
    ],
    ids=lambda parameters: next(iter(parameters.values())).partition(":")[0],
)
def test_convert_booster_computes_regressions(parameters: Any, rows: NDArray[Any], dtype: type) -> None:
    rows = rows.astype(dtype)
    target = TARGETS if parameters.get("loss_function") == "MultiRMSE" else VALUES
    estimator = small(CatBoostRegressor, **parameters).fit(rows, target)
    (actual,) = run_compiled(estimator, rows)
    np.testing.assert_allclose(actual, estimator.predict(rows), rtol=2e-6, atol=1e-6)
    assert len(np.unique(actual)) > 10


@pytest.mark.parametrize("rows", [ROWS, GAPS], ids=["complete", "gaps"])
@pytest.mark.parametrize(
    ("parameters", "classes"),
    [
        ({}, CLASSES),
        ({}, np.minimum(CLASSES, 1)),
        ({}, np.array(["low", "middle", "high"])[CLASSES]),
        ({}, np.array(["no", "yes"])[np.minimum(CLASSES, 1)]),
        ({"loss_function": "CrossEntropy"}, np.minimum(CLASSES, 1)),
        ({"grow_policy": "Lossguide", "auto_class_weights": "Balanced"}, CLASSES),
    ],
    ids=["three", "two", "texts", "two-texts", "cross-entropy", "lossguide"],
)
def test_convert_booster_computes_probabilities(
    parameters: Any, classes: NDArray[Any], rows: NDArray[Any]
) -> None:
    estimator = small(CatBoostClassifier, **parameters).fit(rows, classes)
    labels, probabilities = run_compiled(estimator, rows)
    np.testing.assert_array_equal(labels, np.ravel(estimator.predict(rows)))
    np.testing.assert_allclose(probabilities, estimator.predict_proba(rows), atol=1e-6)


@pytest.mark.parametrize(
    ("estimator", "rows", "reason"),
    [
        (
            small(CatBoostRegressor, loss_function="RMSEWithUncertainty"),
            ROWS,
            "RMSEWithUncertainty is unknown",
        ),
        (
            small(CatBoostClassifier, loss_function="MultiClassOneVsAll"),
            ROWS,
            "MultiClassOneVsAll is unknown",
        ),
        (
            small(CatBoostRegressor, cat_features=["a"]),
            pd.DataFrame(ROWS, columns=list("abc")).assign(a=RANDOM.integers(0, 20, len(ROWS))),
            "the model has categorical features",
        ),
    ],
    ids=["uncertainty", "one-against-all", "categories"],
)
def test_convert_booster_rejects_what_the_graph_lacks(estimator: Any, rows: Any, reason: str) -> None:
    estimator.fit(rows, CLASSES if isinstance(estimator, CatBoostClassifier) else VALUES)
    outputs = (Output(name="prediction", datatype=Datatype.FP64),)
    with pytest.raises(NotCompiledError, match=reason):
        to_onnx(Pipeline([("estimator", estimator)]), "test", dict.fromkeys("abc", Datatype.FP64), outputs)


@pytest.mark.parametrize(
    ("estimator", "target"),
    [
        (small(CatBoostClassifier), np.array(["low", "middle", "high"])[CLASSES]),
        (small(CatBoostClassifier), np.minimum(CLASSES, 1)),
        (small(CatBoostRegressor, loss_function="Poisson"), VALUES),
    ],
    ids=["classes", "two", "poisson"],
)
def test_read_booster_reads_a_file_of_catboost(estimator: Any, target: Any, tmp_path: Path) -> None:
    estimator.fit(GAPS, target).save_model(tmp_path / "model.cbm")
    model = read_booster(tmp_path / "model.cbm")
    assert type(model) is type(estimator)
    np.testing.assert_array_equal(model.predict(GAPS), estimator.predict(GAPS))
    sealed = bundle(model, GAPS, target, name="test", directory=tmp_path / "bundle")
    assert load(sealed.path, sealed.digest, Policy()).engine.name == "onnx"


def test_read_booster_of_another_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.cbm").write_bytes(b"CBM1 and nothing else")
    with pytest.raises(ConfigurationError, match=r"model\.cbm cannot be read as a model of CatBoost"):
        read_booster(tmp_path / "model.cbm")


def test_train_catboost_is_compiled_and_needs_no_library(tmp_path: Path) -> None:
    write_loans(tmp_path)
    parameters = {"iterations": 20, "depth": 4, "l2_leaf_reg": 1.0}
    algorithm = {"name": "CatBoostClassifier", "parameters": parameters}
    config = mixed_configuration(algorithm=algorithm, preprocessing={"numeric": {"impute": "none"}})
    result = train(config, tmp_path / "bundle", base_dir=tmp_path)
    assert result.parity.verdict == "equal"
    assert "catboost" in result.bundle.manifest.versions
    verify_golden_outputs(load(result.bundle.path, None, Policy()), Limits())
    assert imported_by_loading(result.bundle.path, ("catboost",)) == "[]"


@pytest.mark.parametrize("name", ["CatBoostClassifier", "CatBoostRegressor"])
def test_train_catboost_twice_gives_the_same_digest(name: str, tmp_path: Path) -> None:
    task, dataset = ("classification", "iris") if name.endswith("Classifier") else ("regression", "diabetes")
    config = configuration(
        task=task, data={"dataset": dataset}, algorithm={"name": name, "parameters": {"iterations": 5}}
    )
    first, second = (train(config, tmp_path / str(number)) for number in range(2))
    assert first.bundle.digest == second.bundle.digest
    assert first.parity.verdict == "equal"


def test_bundle_keeps_the_metadata_of_the_model(tmp_path: Path) -> None:
    model = small(CatBoostRegressor).fit(ROWS, VALUES)
    before = dict(model.get_metadata().items())
    assert before["model_guid"]
    pipeline = make_pipeline(StandardScaler(), model)
    pipeline[0].fit(ROWS)
    bundle(pipeline, ROWS, VALUES, name="test", directory=tmp_path / "bundle")
    assert dict(model.get_metadata().items()) == before


def test_bundle_names_the_quantiles(tmp_path: Path) -> None:
    model = small(CatBoostRegressor, loss_function="MultiQuantile:alpha=0.1,0.9").fit(ROWS, VALUES)
    sealed = bundle(model, ROWS, VALUES, name="test", directory=tmp_path / "bundle")
    assert sealed.contract.prediction.labels == ("quantile-0.1", "quantile-0.9")
    assert 0 < json.loads(sealed.read(METRICS))["sample"]["coverage"] <= 1


def test_bundle_that_is_not_compiled_needs_trusted_types(tmp_path: Path) -> None:
    model = small(CatBoostClassifier, loss_function="MultiClassOneVsAll").fit(ROWS, CLASSES)
    with pytest.raises(ConfigurationError, match=r"it is not compiled .*catboost\.core\.CatBoostClassifier"):
        bundle(model, ROWS, CLASSES, name="test", directory=tmp_path / "bundle")
    types = ["catboost.core.CatBoostClassifier"]
    sealed = bundle(model, ROWS, CLASSES, name="test", directory=tmp_path / "bundle", trusted_types=types)
    loaded = load(sealed.path, sealed.digest, Policy(TRUSTED_TYPES | set(types)))
    assert loaded.engine.name == "sklearn"
    assert json.loads(sealed.read(PARITY))["verdict"] == "not compiled"
    verify_golden_outputs(loaded, Limits())

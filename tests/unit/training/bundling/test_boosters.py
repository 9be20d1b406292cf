# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor

from tests.support.compiled import run_compiled
from tests.support.trained_bundles import imported_by_loading
from tests.support.training import configuration, write_numbers
from tidegate.bundle import SKOPS
from tidegate.classifiers import LabelEncodedClassifier
from tidegate.errors import BundleError, ConfigurationError
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import TRUSTED_TYPES, Policy
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import EngineChoice
from tidegate_serving.loading.loader import load
from tidegate_serving.selfcheck import verify_golden_outputs
from tidegate_training import bundle
from tidegate_training.bundling.boosters import LIBRARY_TYPES
from tidegate_training.bundling.compile import NotCompiledError
from tidegate_training.run import train

pytestmark = pytest.mark.usefixtures("bare_bundles")

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(300, 3))
GAPS = np.where(RANDOM.random(ROWS.shape) < 0.2, np.nan, ROWS)
VALUES = 5 + ROWS[:, 0] - ROWS[:, 1] * ROWS[:, 2] + RANDOM.normal(0, 0.1, len(ROWS))
CLASSES = np.digitize(VALUES, [4.0, 6.0])


def xgb(kind: type, **parameters: Any) -> Any:
    return kind(n_estimators=8, max_depth=4, n_jobs=1, **parameters)


def lgbm(kind: type, **parameters: Any) -> Any:
    return kind(n_estimators=8, n_jobs=1, verbose=-1, **parameters)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [ROWS, GAPS], ids=["complete", "gaps"])
@pytest.mark.parametrize(
    "estimator",
    [
        *(
            xgb(XGBRegressor, objective=objective)
            for objective in ("reg:squarederror", "reg:absoluteerror", "reg:gamma", "count:poisson")
        ),
        xgb(XGBRegressor, gamma=5.0, tree_method="exact"),
        xgb(XGBRegressor, num_parallel_tree=2, subsample=0.5),
        *(lgbm(LGBMRegressor, objective=name) for name in ("regression", "quantile", "poisson", "tweedie")),
        lgbm(LGBMRegressor, boosting_type="rf", subsample=0.5, subsample_freq=1),
        lgbm(LGBMRegressor, boosting_type="dart"),
    ],
    ids=lambda value: "".join(c for c in str(value)[:12] if c.isalpha()),
)
def test_convert_booster_computes_regressions(estimator: Any, rows: NDArray[Any], dtype: type) -> None:
    rows, targets = rows.astype(dtype), np.maximum(VALUES, 0.1)
    estimator = clone(estimator).fit(rows, targets)
    (actual,) = run_compiled(estimator, rows)
    np.testing.assert_allclose(actual, estimator.predict(rows), rtol=2e-6)
    assert len(np.unique(actual)) > 10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [ROWS, GAPS], ids=["complete", "gaps"])
@pytest.mark.parametrize("classes", [CLASSES, np.minimum(CLASSES, 1)], ids=["three", "two"])
@pytest.mark.parametrize(
    "estimator",
    [xgb(XGBClassifier), lgbm(LGBMClassifier), lgbm(LGBMClassifier, class_weight="balanced")],
    ids=["xgboost", "lightgbm", "weighted"],
)
def test_convert_booster_computes_probabilities(
    estimator: Any, classes: NDArray[Any], rows: NDArray[Any], dtype: type
) -> None:
    rows = rows.astype(dtype)
    estimator = clone(estimator).fit(rows, classes)
    labels, probabilities = run_compiled(estimator, rows)
    np.testing.assert_array_equal(labels, estimator.predict(rows))
    np.testing.assert_allclose(probabilities, estimator.predict_proba(rows), atol=1e-6)


def test_convert_booster_scales_the_margin_by_lightgbm_s_sigmoid() -> None:
    estimator = lgbm(LGBMClassifier, sigmoid=2.0).fit(ROWS, CLASSES > 0)
    np.testing.assert_allclose(run_compiled(estimator, ROWS)[1], estimator.predict_proba(ROWS), atol=1e-6)


def test_convert_booster_uses_the_trees_up_to_the_best_iteration() -> None:
    estimator = XGBRegressor(n_estimators=60, learning_rate=0.9, early_stopping_rounds=5, n_jobs=1)
    estimator.fit(ROWS[:200], VALUES[:200], eval_set=[(ROWS[200:], VALUES[200:])], verbose=False)
    assert estimator.best_iteration + 1 < estimator.get_booster().num_boosted_rounds()
    (actual,) = run_compiled(estimator, ROWS)
    np.testing.assert_allclose(actual, estimator.predict(ROWS), rtol=2e-6)


def test_label_encoded_classifier_compiles_with_texts_as_classes() -> None:
    names = np.array(["low", "middle", "high"])[CLASSES]
    classifier = LabelEncodedClassifier(xgb(XGBClassifier)).fit(ROWS, names)
    labels, probabilities = run_compiled(classifier, ROWS)
    assert classifier.classes_.tolist() == ["high", "low", "middle"]
    np.testing.assert_array_equal(labels, classifier.predict(ROWS))
    np.testing.assert_allclose(probabilities, classifier.predict_proba(ROWS), atol=1e-6)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (xgb(XGBRegressor, booster="dart"), "the booster dart has no ONNX form"),
        (xgb(XGBRegressor, missing=-1.0), "the number -1.0 stands for a missing value"),
        (xgb(XGBRegressor, objective="survival:cox"), "the objective survival:cox is unknown"),
        (xgb(XGBRegressor, feature_types=["c", "q", "q"], enable_categorical=True), "divide categories"),
        (lgbm(LGBMRegressor, zero_as_missing=True), "zero stands for a missing value"),
        (lgbm(LGBMRegressor, reg_sqrt=True), "the option reg_sqrt"),
        (lgbm(LGBMRegressor, linear_tree=True), "the leaves are linear models"),
        (lgbm(LGBMRegressor, objective=lambda y, p: (p - y, np.ones_like(y))), "the objective none is"),
    ],
    ids=["dart", "missing", "survival", "xgb-categories", "zero", "sqrt", "linear", "function"],
)
def test_convert_booster_rejects_other_models(estimator: Any, reason: str) -> None:
    rows = np.column_stack([np.arange(300) % 4, ROWS[:, 1:]])
    estimator.fit(rows, (rows[:, 0] == 2) + VALUES)
    with pytest.raises(NotCompiledError, match=reason):
        run_compiled(estimator, rows)


def test_convert_booster_rejects_another_encoded_classifier() -> None:
    classifier = LabelEncodedClassifier(DecisionTreeClassifier()).fit(ROWS, CLASSES)
    with pytest.raises(NotCompiledError, match="DecisionTreeClassifier is not a booster"):
        run_compiled(classifier, ROWS)


def test_library_types_are_not_trusted_by_default() -> None:
    assert not TRUSTED_TYPES & LIBRARY_TYPES


@pytest.fixture(scope="module", params=["XGBClassifier", "LGBMClassifier"])
def booster_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bundle of a booster that receives missing values as they are."""
    folder = tmp_path_factory.mktemp("booster")
    write_numbers(folder)
    config = configuration(
        data={"path": "numbers.csv"},
        target="class",
        features={"keep": ["a", "b", "gap"]},
        preprocessing={"numeric": {"impute": "none", "scale": "none"}},
        algorithm={"name": request.param, "parameters": {"n_estimators": 5}},
    )
    return train(config, folder / "bundle", base_dir=folder)


def test_train_compiles_a_booster_with_missing_values(booster_bundle: Any) -> None:
    assert booster_bundle.parity.verdict == "equal"
    model = onnx.load_from_string(booster_bundle.bundle.read("model.onnx"))
    (trees,) = (node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor")
    assert len(trees.attribute) > 0


def test_load_of_a_booster_imports_no_library(booster_bundle: Any) -> None:
    assert imported_by_loading(booster_bundle.bundle.path, ("xgboost", "lightgbm", "sklearn")) == "[]"


def test_load_of_a_booster_with_sklearn_needs_its_types(booster_bundle: Any) -> None:
    bundle = booster_bundle.bundle
    with pytest.raises(BundleError, match=r"does not trust: .*\.Booster.*--trusted-type"):
        load(bundle.path, bundle.digest, Policy(), EngineChoice.SKLEARN)
    policy = Policy(TRUSTED_TYPES | LIBRARY_TYPES)
    assert load(bundle.path, bundle.digest, policy, EngineChoice.SKLEARN).engine.name == "sklearn"
    assert hasattr(build_pipeline(bundle.read(SKOPS), policy), "predict_proba")


@pytest.mark.parametrize(
    ("algorithm", "parameters", "reason"),
    [
        ("XGBClassifier", {"booster": "dart"}, "the booster dart has no ONNX form"),
        ("LGBMClassifier", {"objective": "multiclassova"}, "the objective multiclassova is unknown"),
    ],
)
def test_train_rejects_a_booster_that_is_not_compiled(
    algorithm: str, parameters: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    write_numbers(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"cannot be served.*{reason}.*Booster.*--trusted-type"):
        train(
            configuration(
                data={"path": "numbers.csv"},
                target="class",
                features={"keep": ["a", "b"]},
                algorithm={"name": algorithm, "parameters": {"n_estimators": 3, **parameters}},
            ),
            tmp_path / "bundle",
            base_dir=tmp_path,
        )
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    "model",
    [
        xgb(XGBClassifier),
        make_pipeline(StandardScaler(), xgb(XGBRegressor)),
        lgbm(LGBMRegressor),
        make_pipeline(SimpleImputer(), lgbm(LGBMClassifier)),
    ],
    ids=["xgboost", "xgboost-pipeline", "lightgbm", "lightgbm-pipeline"],
)
@pytest.mark.parametrize("named", [True, False], ids=["frame", "matrix"])
def test_bundle_of_a_fitted_booster_is_compiled(model: Any, named: bool, tmp_path: Path) -> None:
    rows: Any = pd.DataFrame(GAPS, columns=["a", "b", "c"]) if named else GAPS
    y = CLASSES if is_classifier(model) else VALUES
    sealed = bundle(clone(model).fit(rows, y), rows, y, name="test", directory=tmp_path / "bundle")
    assert json.loads(sealed.read("parity.json"))["verdict"] == "equal"
    library = "xgboost" if "XGB" in str(model) else "lightgbm"
    assert sealed.manifest.versions[library] == sys.modules[library].__version__
    assert load(sealed.path, sealed.digest, Policy()).engine.name == "onnx"


def test_bundle_of_a_booster_that_is_not_compiled_needs_its_types(tmp_path: Path) -> None:
    model = xgb(XGBClassifier, booster="dart").fit(ROWS, CLASSES)
    with pytest.raises(ConfigurationError, match=r"it is not compiled .*dart.*xgboost\.core\.Booster"):
        bundle(model, ROWS, CLASSES, name="test", directory=tmp_path / "bundle")
    types = ["xgboost.core.Booster", "xgboost.sklearn.XGBClassifier"]
    sealed = bundle(model, ROWS, CLASSES, name="test", directory=tmp_path / "bundle", trusted_types=types)
    policy = Policy(TRUSTED_TYPES | set(types))
    loaded = load(sealed.path, sealed.digest, policy)
    assert loaded.engine.name == "sklearn"
    verify_golden_outputs(loaded, Limits())

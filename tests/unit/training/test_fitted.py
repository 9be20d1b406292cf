# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Fitted models of every task and input become bundles that a server with the default policy loads."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import BayesianRidge, LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.support.training import interactions
from tidegate.bundle import METRICS, MODEL_CARD, ONNX, PARITY, Bundle
from tidegate.errors import ConfigurationError, DataError
from tidegate.recommenders import ImplicitALS
from tidegate_serving import Predictor
from tidegate_training import bundle

pytestmark = pytest.mark.usefixtures("bare_bundles")

RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=(60, 3))
CLASSES = (NUMBERS[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(
    {
        "age": NUMBERS[:, 0],
        "visits": np.arange(60),
        "city": ["Oslo", "Rome", "Paris"] * 20,
        "note": ["good", "café bad", "so so"] * 20,
    }
)


def seal(model: Any, X: Any, y: Any, folder: Path, **options: Any) -> Bundle:
    return bundle(model, X, y, name="own", directory=folder / "bundle", **options)


def predict(sealed: Bundle) -> Any:
    """Serve a bundle and return V1's predictions for its golden rows."""
    predictor = Predictor("own", sealed.path, sealed.digest, registry=CollectorRegistry())
    predictor.load()
    rows = [list(row) for row in sealed.contract.golden.rows]
    response = asyncio.run(predictor.infer({"instances": rows}))
    predictor.stop()
    return response["predictions"]


def columns(*transformers: tuple[str, Any, Any]) -> Any:
    return make_pipeline(
        ColumnTransformer([*transformers], remainder="drop"), LogisticRegression(max_iter=500)
    )


MODELS = {
    "matrix": (LogisticRegression(), NUMBERS, CLASSES, ["label", "probabilities"]),
    "float32": (LogisticRegression(), NUMBERS.astype(np.float32), CLASSES, ["label", "probabilities"]),
    "frame": (make_pipeline(StandardScaler(), LinearRegression()), FRAME[["age"]], CLASSES, ["prediction"]),
    "columns": (
        columns(("n", StandardScaler(), ["age", "visits"]), ("c", OneHotEncoder(), ["city"])),
        FRAME,
        CLASSES,
        ["label", "probabilities"],
    ),
    "text column": (
        columns(("n", "passthrough", ["age"]), ("t", TfidfVectorizer(), "note")),
        FRAME,
        CLASSES,
        ["label", "probabilities"],
    ),
    "texts": (
        make_pipeline(TfidfVectorizer(), LogisticRegression()),
        list(FRAME["note"]),
        CLASSES,
        ["label", "probabilities"],
    ),
    "targets": (LinearRegression(), NUMBERS, np.stack([CLASSES, NUMBERS[:, 1]], axis=1), ["prediction"]),
    "classes of targets": (
        RandomForestClassifier(n_estimators=3),
        NUMBERS,
        np.stack([CLASSES, 1 - CLASSES], axis=1),
        ["label", "probabilities"],
    ),
    "deviation": (BayesianRidge(), NUMBERS, NUMBERS[:, 1], ["prediction", "standard_deviation"]),
    "outliers": (IsolationForest(n_estimators=5), NUMBERS, None, ["label", "score"]),
    "clusters": (KMeans(3, n_init=1, random_state=0), NUMBERS, None, ["label", "distances"]),
    "mixture": (GaussianMixture(2, random_state=0), NUMBERS, None, ["label", "probabilities"]),
    "search": (GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2), NUMBERS, CLASSES, ["label"]),
}


@pytest.mark.parametrize("kind", MODELS)
def test_bundle_serves_the_outputs_of_the_model(kind: str, tmp_path: Path) -> None:
    model, X, y, outputs = MODELS[kind]
    model.fit(X, y)
    sealed = seal(model, X, y, tmp_path)
    names = [output.name for output in sealed.contract.outputs]
    assert names[: len(outputs)] == outputs
    golden = sealed.contract.golden
    served = predict(sealed)
    assert all(
        golden.is_close(actual, expected)
        for actual, expected in zip(served, golden.outputs[names[0]], strict=True)
    )
    # The golden outputs are the model's own for the sample rows.
    expected = {json.dumps(np.asarray(row).tolist()) for row in np.asarray(model.predict(X))}
    if sealed.contract.task != "regression":
        assert {json.dumps(value) for value in golden.outputs["label"]} <= expected


def test_bundle_label_names_the_columns_of_outputs(tmp_path: Path) -> None:
    y = pd.DataFrame({"ill": CLASSES, "old": 1 - CLASSES})
    model = RandomForestClassifier(n_estimators=3).fit(NUMBERS, y)
    label, probabilities = seal(model, NUMBERS, y, tmp_path).contract.outputs
    assert label.labels == ("ill", "old")
    assert probabilities.labels == ("ill=0", "ill=1", "old=0", "old=1")


def test_bundle_boolean_classes_are_0_and_1(tmp_path: Path) -> None:
    model = LogisticRegression().fit(NUMBERS, CLASSES == 1)
    sealed = seal(model, NUMBERS, CLASSES == 1, tmp_path)
    assert sealed.contract.labels == sealed.contract.outputs[1].labels == (0, 1)
    assert ONNX in sealed.manifest.files
    assert set(predict(sealed)) <= {0, 1}


def test_bundle_metrics_fit_the_task(tmp_path: Path) -> None:
    model = KMeans(3, n_init=1, random_state=0).fit(NUMBERS)
    metrics = json.loads(seal(model, NUMBERS, CLASSES, tmp_path).read(METRICS))["sample"]
    assert metrics["clusters"] == 3
    assert 0 < metrics["silhouette"] < 1
    assert metrics["adjusted_rand"] is not None
    outliers = IsolationForest(n_estimators=20, contamination=0.1, random_state=0).fit(NUMBERS)
    metrics = json.loads(seal(outliers, NUMBERS, 2 * CLASSES - 1, tmp_path).read(METRICS))["sample"]
    assert metrics["outlier_fraction"] == pytest.approx(0.1)
    assert metrics["recall"] is not None


@pytest.mark.parametrize("numbered", [False, True])
def test_bundle_of_a_recommender_ranks_held_out_items(numbered: bool, tmp_path: Path) -> None:
    users, items, weights = interactions()
    if numbered:
        users = np.unique(users, return_inverse=True)[1].reshape(-1, 1)
    held_out = np.arange(len(items)) % 5 == 0
    model = ImplicitALS(3, factors=4, random_state=0)
    model.fit(users[~held_out], items[~held_out], weights[~held_out])
    frame = pd.DataFrame({"user": users[:, 0]})
    sealed = bundle(model, frame, items, name="items", directory=tmp_path / "b", handle_unknown="accept")
    metrics = json.loads(sealed.read(METRICS))["sample"]
    assert metrics["ndcg"] > metrics["popularity_ndcg"] + 0.2
    (feature,) = sealed.contract.features
    assert feature.categories == tuple(sorted(set(users[:, 0].tolist())))
    assert ONNX in sealed
    assert sealed.contract.task == "recommendation"
    assert predict(sealed) == sealed.contract.golden.outputs["items"]


def test_bundle_is_compiled_where_equal_and_says_its_source(tmp_path: Path) -> None:
    sealed = seal(LogisticRegression(C=2.0).fit(NUMBERS, CLASSES), NUMBERS, CLASSES, tmp_path)
    assert json.loads(sealed.read(PARITY))["verdict"] == "equal"
    card = sealed.read(MODEL_CARD).decode()
    assert "LogisticRegression(C=2.0)" in card
    assert "fitted before it was bundled" in card
    again = bundle(
        LogisticRegression(C=2.0).fit(NUMBERS, CLASSES),
        NUMBERS,
        CLASSES,
        name="own",
        directory=tmp_path / "b",
    )
    assert again.digest == sealed.digest


class Own(ClassifierMixin, BaseEstimator):
    """An estimator of one's own."""

    def fit(self, X: Any, y: Any) -> "Own":
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


@pytest.mark.parametrize(
    ("model", "X", "y", "error", "words"),
    [
        (LogisticRegression(), NUMBERS, None, ConfigurationError, "is not fitted"),
        (DBSCAN().fit(NUMBERS), NUMBERS, None, ConfigurationError, "no method predict"),
        ("model", NUMBERS, None, ConfigurationError, "expected a fitted estimator"),
        (Own().fit(NUMBERS, CLASSES), NUMBERS, None, ConfigurationError, r"test_fitted\.Own.*trusted_types="),
        (LogisticRegression().fit(NUMBERS, CLASSES), NUMBERS[:, :2], None, DataError, "cannot predict for X"),
        (LogisticRegression().fit(NUMBERS, CLASSES), NUMBERS, [1], DataError, "y has 1 rows, and X has 60"),
        (
            LogisticRegression().fit(NUMBERS, CLASSES),
            NUMBERS,
            ["no"] * 60,
            DataError,
            "'no' in row 1: expected",
        ),
        (LogisticRegression().fit(NUMBERS, CLASSES), NUMBERS[0], None, DataError, "X has the shape"),
    ],
)
def test_bundle_of_what_cannot_be_served_says_why(
    model: Any, X: Any, y: Any, error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        seal(model, X, y, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bundle_of_another_recommender_is_rejected(tmp_path: Path) -> None:
    model = LogisticRegression().fit(NUMBERS, CLASSES)
    with pytest.raises(ConfigurationError, match=r"LogisticRegression is not a recommender .*ImplicitALS"):
        bundle(model, NUMBERS, name="own", directory=tmp_path / "bundle", task="recommendation")


def test_bundle_invalid_name_is_rejected(tmp_path: Path) -> None:
    model = LogisticRegression().fit(NUMBERS, CLASSES)
    with pytest.raises(ConfigurationError, match="'My Model' is not a model's name"):
        bundle(model, NUMBERS, name="My Model", directory=tmp_path)


def test_bundle_own_type_is_sealed_if_it_is_trusted(tmp_path: Path) -> None:
    name = f"{Own.__module__}.Own"
    sealed = seal(Own().fit(NUMBERS, CLASSES), NUMBERS, CLASSES, tmp_path, trusted_types=[name])
    assert sealed.manifest.algorithm == "Own"


def test_bundle_rows_that_change_in_a_request_are_rejected(tmp_path: Path) -> None:
    frame = pd.DataFrame({"city": ["Oslo", None, "Rome"] * 20})
    model = columns(("c", OneHotEncoder(handle_unknown="ignore"), ["city"])).fit(frame, [0, 1, 0] * 20)
    with pytest.raises(DataError, match="row 2 when the row arrives in a request"):
        seal(model, frame, None, tmp_path)


@pytest.mark.parametrize("kind", ["matrix", "text column"])
def test_bundle_threshold_is_served_by_both_engines(kind: str, tmp_path: Path) -> None:
    model, X, y, _ = MODELS[kind]
    model.fit(X, y)
    value = float(np.quantile(model.predict_proba(X)[:, 0], 0.25))
    sealed = seal(model, X, y, tmp_path, threshold=value, positive_label=0, golden_rows=60)
    rows = np.array(sealed.contract.golden.outputs["probabilities"])
    expected = np.where(rows[:, 0] >= value, 0, 1).tolist()
    assert 0.6 < np.mean(np.array(expected) == 0) < 0.9, "more than the half that are more probable"
    assert predict(sealed) == sealed.contract.golden.outputs["label"] == expected
    metrics = json.loads(sealed.read(METRICS))["sample"]
    assert metrics["recall"] > 0.9
    assert "'0' from a probability of" in sealed.read(MODEL_CARD).decode()
    assert json.loads(sealed.read(PARITY))["verdict"] == ("equal" if kind == "matrix" else "not compiled")


def test_bundle_threshold_is_tuned_on_the_sample_rows(tmp_path: Path) -> None:
    model = LogisticRegression().fit(NUMBERS, CLASSES)
    y = (NUMBERS[:, 0] + NUMBERS[:, 1] > 0.5).astype(int)
    costs = {"costs": {"false_positive": 9, "false_negative": 1}}
    sealed = seal(model, NUMBERS, y, tmp_path, threshold=costs)
    assert sealed.contract.threshold is not None
    tuned = sealed.contract.threshold.value

    def cost(threshold: float) -> int:
        positive = model.predict_proba(NUMBERS)[:, 1] >= threshold
        return 9 * int((positive & (y == 0)).sum()) + int((~positive & (y == 1)).sum())

    assert cost(tuned) <= min(cost(value) for value in np.linspace(0.01, 0.99, 99)) < cost(0.5)
    assert "tuned on the sample rows for the lowest cost" in sealed.read(MODEL_CARD).decode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.0}, r"threshold: expected a number between 0 and 1, .*, received 1\.0 \(value: "),
        ({"threshold": {"metric": "r2"}}, "received {'metric': 'r2'}"),
        ({"threshold": {"metric": "f1"}}, "threshold: the true classes are unknown"),
        (
            {"threshold": 0.3, "positive_label": "yes"},
            "positive_label: expected one of two classes, received 'yes', and the model has 0, 1.",
        ),
        ({"threshold": 0.3, "y": NUMBERS[:, 1]}, "expected two classes, and the LinearRegression has 0"),
    ],
)
def test_bundle_wrong_threshold_is_rejected(options: Any, message: str, tmp_path: Path) -> None:
    y = options.pop("y", None)
    model = LogisticRegression().fit(NUMBERS, CLASSES) if y is None else LinearRegression().fit(NUMBERS, y)
    with pytest.raises(ConfigurationError, match=message):
        seal(model, NUMBERS, None, tmp_path, **options)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Outlier detectors and clusterers are trained from a configuration, and loaded under the default policy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tests.support.training import INSTALLED, configuration
from tidegate.errors import FieldError
from tidegate.trust.policy import Policy
from tidegate_serving.codecs.request import Limits
from tidegate_serving.loading.loader import load
from tidegate_serving.selfcheck import verify_golden_outputs
from tidegate_training.algorithms import ALGORITHMS
from tidegate_training.config import TrainingConfig
from tidegate_training.run import TrainingResult, train

pytestmark = pytest.mark.usefixtures("bare_bundles")

TASKS = ("outlier_detection", "clustering")
PARAMETERS: dict[str, dict[str, Any]] = {
    "IsolationForest": {"n_estimators": 10, "contamination": 0.1},
    "KMeans": {"n_clusters": 3, "n_init": 1},
    "MiniBatchKMeans": {"n_clusters": 3, "n_init": 1},
    "BisectingKMeans": {"n_clusters": 3},
    "GaussianMixture": {"n_components": 3},
    "BayesianGaussianMixture": {"n_components": 3},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three groups of points and a few far away, and the names of both."""
    random = np.random.default_rng(0)
    group = np.arange(150) % 3
    points = random.normal(size=(150, 2)) + 8 * np.stack([group, group % 2], axis=1)
    far = np.arange(150) % 15 == 0
    points[far] += 60
    frame = pd.DataFrame(points, columns=["x", "y"])
    frame = frame.assign(group=np.array(["a", "b", "c"])[group], kind=np.where(far, "bad", "good"))
    folder = tmp_path_factory.mktemp("points")
    frame.to_csv(folder / "points.csv", index=False)
    return folder


def make_config(name: str, **fields: Any) -> TrainingConfig:
    algorithm = {"name": name, "parameters": PARAMETERS.get(name, {})}
    defaults: dict[str, Any] = {"data": {"path": "points.csv"}, "features": {"keep": ["x", "y"]}}
    return configuration(**defaults | {"task": ALGORITHMS[name].task, "algorithm": algorithm} | fields)


def run(config: TrainingConfig, folder: Path, tmp_path: Path) -> TrainingResult:
    return train(config, tmp_path / "bundle", base_dir=folder)


@pytest.mark.parametrize("name", [name for name in INSTALLED if ALGORITHMS[name].task in TASKS])
def test_train_unsupervised_is_served(name: str, folder: Path, tmp_path: Path) -> None:
    result = run(make_config(name), folder, tmp_path)
    contract = result.bundle.contract
    assert contract.prediction.name == "label"
    assert contract.labels == ((-1, 1) if contract.task == "outlier_detection" else (0, 1, 2))
    loaded = load(result.bundle.path, result.bundle.digest, Policy())
    assert loaded.engine.name == ("onnx" if result.parity.verdict == "equal" else "sklearn")
    verify_golden_outputs(loaded, Limits())
    assert result.evaluation.overfitting is None


def test_train_outlier_detection_measures_known_outliers(folder: Path, tmp_path: Path) -> None:
    config = make_config(
        "IsolationForest", target="kind", positive_label="bad", gates={"test.recall": ">= 0.9"}
    )
    result = run(config, folder, tmp_path)
    metrics = result.evaluation.metrics["test"]
    assert metrics["recall"] == metrics["roc_auc"] == 1.0
    assert "target 'kind'" in result.bundle.read("MODEL_CARD.md").decode()


def test_train_outlier_detection_without_target_has_the_fraction(folder: Path, tmp_path: Path) -> None:
    result = run(make_config("IsolationForest"), folder, tmp_path)
    metrics = json.loads(result.bundle.read("metrics.json"))
    assert metrics["train"]["outlier_fraction"] == pytest.approx(0.1, abs=0.02)
    assert metrics["test"]["f1"] is None
    assert "points.csv, without a target" in result.bundle.read("MODEL_CARD.md").decode()


def test_train_clustering_measures_known_groups(folder: Path, tmp_path: Path) -> None:
    features = {"drop": ["kind"]}
    config = make_config("KMeans", target="group", features=features, gates={"test.silhouette": ">= 0.2"})
    result = run(config, folder, tmp_path)
    metrics = result.evaluation.metrics["test"]
    assert metrics["clusters"] == 3
    assert metrics["adjusted_rand"] is not None
    assert result.bundle.contract.feature_names == ("x", "y"), "without the target"


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("KMeans", {"threshold": 0.5}, "'threshold'.*a clustering has no classes"),
        ("KMeans", {"positive_label": "a"}, "'positive_label'.*a clustering has no classes"),
        ("IsolationForest", {"split": {"stratify": True}}, "an outlier detection has no classes"),
        ("IsolationForest", {"positive_label": "bad"}, "'target': missing: name the column"),
        ("IsolationForest", {"gates": {"test.r2": ">= 0"}}, "a metric of outlier_fraction, precision"),
        ("IsolationForest", {"task": "clustering"}, "is not an algorithm for clustering"),
    ],
)
def test_config_of_unsupervised_task_rejects(name: str, fields: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make_config(name, **fields)


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        (
            "IsolationForest",
            {"target": "kind"},
            r"one of 'bad', 'good' in the target 'kind' .* received None",
        ),
        (
            "IsolationForest",
            {"target": "kind", "positive_label": "x"},
            "the class of the outliers, .* received 'x'",
        ),
        (
            "LocalOutlierFactor",
            {"algorithm": {"name": "LocalOutlierFactor", "parameters": {"novelty": False}}},
            "LocalOutlierFactor cannot predict for new rows with these parameters: remove novelty",
        ),
    ],
)
def test_train_unsupervised_says_what_is_wrong(
    name: str, fields: Any, words: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(FieldError, match=words):
        run(make_config(name, **fields), folder, tmp_path)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.fitted_models import fitted_model
from tidegate.contract import Datatype
from tidegate.digest import canonical_json
from tidegate_training.bundling.features import FeatureTable
from tidegate_training.evaluation.estimates import Evaluator
from tidegate_training.evaluation.evaluation import Evaluation, evaluate
from tidegate_training.gates import parse_gate

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(300, 2)).astype(np.float32)
TARGET = np.where(X[:, 0] + GENERATOR.normal(size=300) > 0, "yes", "no")
TRAIN, TEST = np.arange(200), np.arange(200, 300)


def evaluate_again(units: np.ndarray | None = None) -> Evaluation:
    features = FeatureTable({"a": X[:, 0], "b": X[:, 1]}, {"a": Datatype.FP32, "b": Datatype.FP32})
    pipeline = LogisticRegression().fit(X[TRAIN], TARGET[TRAIN])
    model = fitted_model(pipeline, features, TARGET, train=TRAIN, test=TEST)
    splits = {"train": TRAIN, "test": TEST}
    outputs = {name: model.predict_rows(rows) for name, rows in splits.items()}
    gates = [parse_gate("test.brier", "<= 0.3"), parse_gate("gap.f1", "<= 1")]
    return evaluate(Evaluator(model, "yes", units=units), splits, outputs, gates=gates)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate_again()


def test_evaluate_gives_every_metric_an_interval_that_has_it(evaluation: Evaluation) -> None:
    for split, metrics in evaluation.metrics.items():
        for name, value in metrics.items():
            interval = evaluation.intervals[split][name]
            assert interval is not None
            assert value in interval, (split, name)
            assert (interval.method == "wilson") == (name in ("accuracy", "precision", "recall", "f1"))
    gap = evaluation.intervals["gap"]["roc_auc"]
    assert gap is not None
    assert evaluation.gap["roc_auc"] in gap


def test_evaluate_of_grouped_rows_resamples_groups(evaluation: Evaluation) -> None:
    grouped = evaluate_again(units=np.repeat(np.arange(30), 10))
    interval = grouped.intervals["test"]["accuracy"]
    assert interval is not None
    assert interval.method == "bootstrap"
    assert grouped.metrics == evaluation.metrics


def test_evaluate_judges_the_last_split(evaluation: Evaluation) -> None:
    assert evaluation.split == "test"
    assert [result.passed for result in evaluation.gates] == [True, True]
    assert evaluation.dummy is not None
    assert sum(group.estimates.rows for group in evaluation.breakdown.classes) == len(TEST)


def test_metrics_document_is_the_same_in_each_run(evaluation: Evaluation) -> None:
    document = canonical_json(evaluation.to_json())
    assert document == canonical_json(evaluate_again().to_json())
    metrics = json.loads(document)
    assert metrics["test"] == evaluation.metrics["test"]
    assert set(metrics["intervals"]) == {"level", "resamples", "train", "test", "gap"}
    assert metrics["intervals"]["test"]["f1"]["method"] == "wilson"

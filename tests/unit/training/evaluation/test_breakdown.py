# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.fitted_models import fitted_model
from tidegate.contract import Datatype
from tidegate_training.bundling.features import FeatureTable
from tidegate_training.evaluation.breakdown import SMALL_GROUPS, Grouping, break_down, shown_metrics
from tidegate_training.evaluation.estimates import Evaluator

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(300, 1)).astype(np.float32)
FEATURES = FeatureTable({"a": X[:, 0]}, {"a": Datatype.FP32})
TARGET = (X[:, 0] + GENERATOR.normal(size=300) > 0).astype(np.int64)
ROWS = np.arange(300)
MODEL = fitted_model(LogisticRegression().fit(X, TARGET), FEATURES, TARGET, train=ROWS, test=ROWS)
OUTPUTS = MODEL.predict_rows(ROWS)
GROUPING = Grouping(("north", "south", "island", "empty"), np.select([ROWS < 150, ROWS < 296], [0, 1], 2))


def test_break_down_of_groups_has_rates_of_their_rows() -> None:
    groups = {g.name: g for g in break_down(Evaluator(MODEL, 1), ROWS, OUTPUTS, {"region": GROUPING}).groups}
    assert list(groups) == ["north", "south", SMALL_GROUPS]
    north = groups["north"].estimates
    actual, predicted = TARGET[:150] == 1, OUTPUTS["label"][:150] == 1
    assert north.metrics["selection_rate"] == pytest.approx(predicted.mean())
    assert north.metrics["recall"] == pytest.approx(predicted[actual].mean())
    assert north.metrics["false_positive_rate"] == pytest.approx(predicted[~actual].mean())
    assert {
        interval.method for interval in map(north.intervals.get, shown_metrics([groups["north"]])) if interval
    } == {"wilson"}
    assert groups[SMALL_GROUPS].estimates.rows == 4


def test_break_down_of_classes_has_recall_of_each() -> None:
    classes = break_down(Evaluator(MODEL, 1), ROWS, OUTPUTS, {}).classes
    assert [(group.name, group.estimates.rows) for group in classes] == [
        (str(label), int((label == TARGET).sum())) for label in (0, 1)
    ]
    recall = (OUTPUTS["label"] == 0)[TARGET == 0].mean()
    assert classes[0].estimates.metrics["recall"] == pytest.approx(recall)


def test_break_down_of_weighted_rows_has_bootstrap_intervals() -> None:
    model = replace(MODEL, weights=np.where(ROWS % 2, 1.0, 3.0))
    classes = break_down(Evaluator(model, 1), ROWS, OUTPUTS, {}).classes
    interval = classes[0].estimates.intervals["recall"]
    assert interval is not None
    assert interval.method == "bootstrap"
    assert (classes[0].estimates.metrics["recall"] or 0) in interval


def test_break_down_of_probabilities_counts_every_row() -> None:
    bins = break_down(Evaluator(MODEL, 1), ROWS, OUTPUTS, {}).calibration
    assert sum(bin_.rows for bin_ in bins) == 300
    mean = sum(bin_.rows * bin_.observed for bin_ in bins) / 300
    assert mean == pytest.approx(TARGET.mean())
    assert all(bin_.interval is not None and bin_.observed in bin_.interval for bin_ in bins)


def test_break_down_of_a_group_without_positives_has_no_recall() -> None:
    grouping = Grouping(("negative", "any"), np.where((TARGET == 0) & (ROWS < 150), 0, 1))
    negative, _ = break_down(Evaluator(MODEL, 1), ROWS, OUTPUTS, {"region": grouping}).groups
    assert negative.estimates.metrics["recall"] is None
    assert negative.estimates.metrics["false_positive_rate"] is not None


def test_break_down_of_a_group_without_weight_is_undefined() -> None:
    model = replace(MODEL, weights=np.where(ROWS < 150, 0.0, 1.0))
    north, _, _ = break_down(Evaluator(model, 1), ROWS, OUTPUTS, {"region": GROUPING}).groups
    assert set(north.estimates.metrics.values()) == {None}

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
from sklearn.dummy import DummyClassifier

from tests.support.fitted_models import fitted_model, sklearn_rows
from tidegate.contract import Datatype
from tidegate_training.bundling.baseline import BINS, build_baseline
from tidegate_training.bundling.contract import build_contract
from tidegate_training.bundling.features import FeatureTable

DATATYPES = {"size": Datatype.FP32, "ripe": Datatype.BOOL, "colour": Datatype.BYTES}
SIZES = np.arange(100, dtype=np.float32)
SIZES[::10] = np.nan
FEATURES = FeatureTable(
    {
        "size": SIZES,
        "ripe": np.arange(100) % 4 == 0,
        "colour": np.array(["red", "blue", "", "red"] * 25, dtype=object),
    },
    DATATYPES,
)


def test_build_baseline_counts_features_and_predictions() -> None:
    train, held_out = np.arange(80), np.arange(80, 100)
    target = np.array(["no", "yes"] * 50)
    estimator = DummyClassifier().fit(sklearn_rows(FEATURES.batch(train)), target[train])
    model = fitted_model(estimator, FEATURES, target, train=train, test=held_out)
    baseline = build_baseline(model, build_contract(model, 1))
    assert baseline["rows"] == 80
    size = baseline["features"]["size"]
    assert size["missing"] == 8
    assert size["edges"] == sorted(size["edges"])
    assert len(size["counts"]) == len(size["edges"]) + 1 == BINS
    assert sum(size["counts"]) == 72
    assert max(size["counts"]) - min(size["counts"]) <= 1
    assert baseline["features"]["ripe"] == {"categories": {"False": 60, "True": 20}, "missing": 0}
    assert baseline["features"]["colour"] == {"categories": {"blue": 20, "red": 40}, "missing": 20}
    assert baseline["predictions"]["label"] == {"categories": {"no": 20}}
    # One histogram per score column; all values of this model are equal, so each has one edge.
    assert [histogram["counts"] for histogram in baseline["predictions"]["probabilities"]] == [[20, 0]] * 2

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error

from tidegate.contract import Datatype
from tidegate.errors import DataError
from tidegate_training.bundling.features import FeatureTable
from tidegate_training.config import TrainingConfig
from tidegate_training.cross_validation import cross_validate, make_table_folds
from tidegate_training.data.split import Splits
from tidegate_training.data.table import Table

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(60, 2)).astype(np.float32)
FEATURES = FeatureTable({"a": X[:, 0], "b": X[:, 1]}, {"a": Datatype.FP32, "b": Datatype.FP32})
SPLITS = Splits(np.arange(30), np.arange(30, 45), np.arange(45, 60))


def configuration(task: str, algorithm: str) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "name": "line",
            "task": task,
            "data": {"path": "line.csv"},
            "target": "y",
            "algorithm": {"name": algorithm},
            "evaluation": {"cross_validation": 3},
        }
    )


def test_cross_validate_never_uses_a_test_row() -> None:
    target = X[:, 0].astype(np.float64) + GENERATOR.normal(size=60)
    target[SPLITS.test] = np.nan  # would make the estimator fail
    config, table = configuration("regression", "Ridge"), Table(FEATURES, target)
    result = cross_validate(config, table, SPLITS, None, None)
    assert len(result.folds) == 3
    errors = []
    for train, held_out in make_table_folds(config, table, SPLITS, 3):
        predicted = Ridge().fit(X[train], target[train]).predict(X[held_out])
        errors.append(mean_absolute_error(target[held_out], predicted))
    assert result.metrics["mae"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_make_table_folds_without_a_class_to_fit_on_is_an_error() -> None:
    groups = np.repeat(np.arange(12), 5)
    target = np.where(groups == 0, "rare", "often")
    table = Table(FEATURES, target, groups=groups)
    with pytest.raises(DataError, match=r"Fold \d has no row of the class 'rare' to fit on"):
        make_table_folds(configuration("classification", "GaussianNB"), table, SPLITS, 3)

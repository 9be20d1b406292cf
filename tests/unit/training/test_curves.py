# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from tidegate.contract import Datatype
from tidegate_training.algorithms import parameter_names
from tidegate_training.bundling.features import FeatureTable
from tidegate_training.config import TrainingConfig
from tidegate_training.curves import PENALTIES, REGULARIZATION, diagnose
from tidegate_training.data.split import Splits
from tidegate_training.data.table import Table
from tidegate_training.evaluation.plots import plot_diagnosis

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(80, 3)).astype(np.float32)
TABLE = Table(
    FeatureTable({name: X[:, i] for i, name in enumerate("abc")}, dict.fromkeys("abc", Datatype.FP32)),
    X[:, 0].astype(np.float64) + GENERATOR.normal(size=80) * 0.1,
)
SPLITS = Splits(np.arange(40), np.arange(40, 60), np.arange(60, 80))


def configuration(**diagnosis: object) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "name": "line",
            "task": "regression",
            "data": {"path": "line.csv"},
            "target": "y",
            "algorithm": {"name": "KNeighborsRegressor", "parameters": {"n_neighbors": 3}},
            "diagnosis": {"folds": 2, **diagnosis},
        }
    )


def test_diagnose_fits_each_setting_on_the_same_folds() -> None:
    diagnosis = diagnose(configuration(parameter="n_neighbors", values=[500, 9, 1]), TABLE, SPLITS, None)
    assert [point.label for point in diagnosis.learning] == [3, 6, 12, 21, 30]
    assert diagnosis.learning[-1].mean > diagnosis.learning[0].mean
    (curve,) = diagnosis.regularization.values()
    assert [point.label for point in curve] == [9, 1]
    assert curve[1].train == pytest.approx((1, 1))  # a row is its own nearest neighbor
    assert [point.label for point in diagnosis.models] == [
        "tree of depth 2",
        "Ridge",
        "KNeighborsRegressor",
    ]
    assert diagnosis.configured == 3
    assert "a simpler model is enough: Ridge" in diagnosis.findings[-1].text
    assert set(plot_diagnosis(diagnosis)) == {found.evidence for found in diagnosis.findings}


def test_regularization_names_parameters_that_exist() -> None:
    for algorithm, (parameter, _) in REGULARIZATION.items():
        if not algorithm.startswith(("XGB", "LGBM")):  # libraries that may be absent
            assert parameter in parameter_names(algorithm)
    for penalties in PENALTIES.values():
        for algorithm, parameters in penalties.values():
            assert set(parameters) <= set(parameter_names(algorithm))

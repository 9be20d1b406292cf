# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A small search: 90 rows of two features, two algorithms that fit in a moment, and a trial that fails."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.support.training import configuration
from tidegate.contract import Datatype
from tidegate_training.bundling.features import FeatureTable
from tidegate_training.config import TrainingConfig
from tidegate_training.data.split import Splits
from tidegate_training.data.table import Table
from tidegate_training.evaluation.leaderboard import Trial
from tidegate_training.search.storage import TrialStorage
from tidegate_training.search.study import Problem

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(90, 2)).astype(np.float32)
FEATURES = FeatureTable({"a": X[:, 0], "b": X[:, 1]}, {"a": Datatype.FP32, "b": Datatype.FP32})
TARGET = np.where(X[:, 0] + GENERATOR.normal(size=90) / 2 > 0, "yes", "no")
SPLITS = Splits(np.arange(60), np.arange(60, 75), np.arange(75, 90))

SPACES: dict[str, Any] = {
    "algorithms": [
        {
            "name": "LogisticRegression",
            "parameters": {"max_iter": 1000},
            "space": {
                "C": {"type": "float", "low": 0.001, "high": 100, "log": True},
                "class_weight": {"type": "categorical", "choices": [None, "balanced", {"yes": 2, "no": 1}]},
            },
        },
        {"name": "KNeighborsClassifier", "space": {"n_neighbors": {"type": "int", "low": 1, "high": 9}}},
    ],
    "preprocessing": {"numeric.scale": {"type": "categorical", "choices": ["none", "standard"]}},
    "metric": "roc_auc",
    "trials": 4,
    "folds": {"outer": 2, "inner": 2},
}


def search_configuration(**options: Any) -> TrainingConfig:
    """Return a configuration with a search, some of whose options are replaced."""
    return configuration(
        data={"path": "rows.csv"}, target="y", algorithm={"name": "GaussianNB"}, search=SPACES | options
    )


def table(target: Any = TARGET, **columns: Any) -> Table:
    """Return the rows, with columns of the split if they are given."""
    return Table(FEATURES, target, **columns)


def problem(folder: Path, **options: Any) -> Problem:
    """Return the search with its trials in a folder."""
    config = search_configuration(**options)
    folder.mkdir(parents=True, exist_ok=True)
    return Problem(config, table(), "roc_auc", None, TrialStorage(str(folder), "test"))


def trial(number: int, *scores: float, **fields: Any) -> Trial:
    """Return a finished trial of a nearest-neighbors algorithm."""
    values: dict[str, Any] = {
        "algorithm": "KNeighborsClassifier",
        "parameters": {"n_neighbors": number + 1},
        "preprocessing": {"numeric.scale": "none"},
        "state": "complete",
        "seconds": 1.0,
    }
    return Trial(number=number, scores=scores, **(values | fields))

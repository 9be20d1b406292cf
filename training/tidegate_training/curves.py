# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The curves of a diagnosis: fewer rows, other regularization, and simpler models.

Each setting is fitted on the same folds of the training and validation rows, so settings are compared in
pairs. No test row is used. A setting that cannot be fitted, such as more neighbors than rows, is left out.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from tidegate.contract import DecisionThreshold
from tidegate.errors import DataError
from tidegate_training.algorithms import build_estimator
from tidegate_training.config import Algorithm, DiagnosisOptions, Numeric, TrainingConfig
from tidegate_training.cross_validation import evaluate_fold, make_table_folds
from tidegate_training.data.split import Splits
from tidegate_training.data.table import Table
from tidegate_training.evaluation.diagnosis import CurvePoint, Diagnosis
from tidegate_training.evaluation.folds import Fold
from tidegate_training.evaluation.overfitting import COMPARED_METRICS

FRACTIONS = (0.1, 0.2, 0.4, 0.7, 1.0)
"""Fractions of the rows of a fold that the learning curve is fitted on."""

_UNFIT = (DataError, ValueError)
"""Errors of a setting for which the rows are too few: in fitting, and in the prediction of neighbors."""

_LOGARITHMIC = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]
_INVERSE_STRENGTH = ("C", _LOGARITHMIC)
_STRENGTH = ("alpha", _LOGARITHMIC[::-1])
_DEPTH = ("max_depth", [1, 2, 3, 4, 6, 10])
_LEAF = ("min_samples_leaf", [50, 20, 10, 5, 2, 1])
_NEIGHBORS = ("n_neighbors", [50, 25, 15, 9, 5, 3, 1])

REGULARIZATION: Mapping[str, tuple[str, list[Any]]] = {
    **dict.fromkeys(("LogisticRegression", "LinearSVC", "SVC", "LinearSVR", "SVR"), _INVERSE_STRENGTH),
    **dict.fromkeys(
        ("RidgeClassifier", "Ridge", "Lasso", "ElasticNet", "MLPClassifier", "MLPRegressor"), _STRENGTH
    ),
    **dict.fromkeys(
        (
            "DecisionTreeClassifier",
            "DecisionTreeRegressor",
            "GradientBoostingClassifier",
            "GradientBoostingRegressor",
            "HistGradientBoostingClassifier",
            "HistGradientBoostingRegressor",
            "XGBClassifier",
            "XGBRegressor",
            "LGBMClassifier",
            "LGBMRegressor",
        ),
        _DEPTH,
    ),
    **dict.fromkeys(
        ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"),
        _LEAF,
    ),
    **dict.fromkeys(("KNeighborsClassifier", "KNeighborsRegressor"), _NEIGHBORS),
}
"""By algorithm, the parameter that regularizes it, and its values from the strongest to the weakest."""

_SAGA = {"solver": "saga", "max_iter": 2000}
_LINEAR = {"L2": ("Ridge", {}), "L1": ("Lasso", {}), "elastic net": ("ElasticNet", {"l1_ratio": 0.5})}
PENALTIES: Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "LogisticRegression": {
        "L2": ("LogisticRegression", {"l1_ratio": 0.0}),
        "L1": ("LogisticRegression", {"l1_ratio": 1.0, **_SAGA}),
        "elastic net": ("LogisticRegression", {"l1_ratio": 0.5, **_SAGA}),
    },
    **dict.fromkeys(("Ridge", "Lasso", "ElasticNet"), _LINEAR),
}
"""By algorithm, the penalties that its family has: the algorithm and the parameters of each."""


def diagnose(
    config: TrainingConfig, table: Table, splits: Splits, threshold: DecisionThreshold | None
) -> Diagnosis:
    """Compute the curves of a configuration.

    Args:
        config: The configuration.
        table: The data.
        splits: The split.
        threshold: The model's decision threshold, which each fold applies.

    Raises:
        DataError: If the rows are too few for the folds.
        FieldError: If the estimator rejects a value of the parameter.
    """
    options = config.diagnosis
    assert options is not None  # the caller's condition
    metric = COMPARED_METRICS[config.task]
    folds = make_table_folds(config, table, splits, options.folds, "diagnosis.folds")

    def point(label: Any, other: TrainingConfig, folds: Iterable[Fold] = folds) -> CurvePoint:
        scores = [evaluate_fold(other, table, fold, threshold) for fold in folds]
        train, held_out = ([part[metric] or 0.0 for part in parts] for parts in zip(*scores, strict=True))
        return CurvePoint(label, tuple(train), tuple(held_out))

    learning = []
    for fraction in FRACTIONS:
        smaller = [(_take(train, fraction, config, table), held_out) for train, held_out in folds]
        if _has_each_class(config, table, smaller):
            rows = int(np.mean([len(train) for train, _ in smaller]))
            with suppress(*(() if fraction == 1 else _UNFIT)):
                learning.append(point(rows, config, smaller))
    parameter, values = _regularization(config, options)
    regularization = {}
    if parameter is not None:
        for name, (algorithm, parameters) in _penalties(config, options).items():
            points = []
            for value in values:
                other = _with_algorithm(config, algorithm, {**parameters, parameter: value})
                with suppress(*_UNFIT):
                    points.append(point(value, other))
            if points:
                regularization[name] = tuple(points)
    models = [point(name, other) for name, other in _simpler_models(config)]
    return Diagnosis(
        metric,
        float(np.mean([len(held_out) / len(train) for train, held_out in folds])),
        tuple(learning),
        parameter,
        None if parameter is None else _configured(config, parameter),
        regularization,
        (*models, CurvePoint(config.algorithm.name, learning[-1].train, learning[-1].held_out)),
    )


def _regularization(config: TrainingConfig, options: DiagnosisOptions) -> tuple[str | None, list[Any]]:
    if options.parameter is not None and options.values is not None:
        return options.parameter, list(options.values)
    return REGULARIZATION.get(config.algorithm.name, (None, []))


def _penalties(
    config: TrainingConfig, options: DiagnosisOptions
) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Return the algorithms whose regularization is varied: the penalties of the family, or the algorithm."""
    name = config.algorithm.name
    if options.parameter is None and name in PENALTIES:
        return PENALTIES[name]
    return {name: (name, {})}


def _simpler_models(config: TrainingConfig) -> list[tuple[str, TrainingConfig]]:
    """Return simpler models than the configured one, the simplest first."""
    if config.task == "classification":
        simpler = [("DecisionTreeClassifier", {"max_depth": 2}), ("LogisticRegression", {"max_iter": 1000})]
    else:
        simpler = [("DecisionTreeRegressor", {"max_depth": 2}), ("Ridge", {})]
    return [
        (
            "tree of depth 2" if "max_depth" in parameters else name,
            _with_algorithm(_with_scale(config), name, parameters, alone=True),
        )
        for name, parameters in simpler
        if name != config.algorithm.name
    ]


def _with_algorithm(
    config: TrainingConfig, name: str, parameters: Mapping[str, Any], *, alone: bool = False
) -> TrainingConfig:
    """Return a configuration with another algorithm.

    Args:
        config: The configuration.
        name: The algorithm.
        parameters: Its parameters, in addition to those of the configuration for the same algorithm.
        alone: Whether the algorithm has these parameters alone.
    """
    kept = {} if alone or name != config.algorithm.name else config.algorithm.parameters
    algorithm = Algorithm(name=name, parameters={**kept, **parameters})
    return config.model_copy(update={"algorithm": algorithm})


def _with_scale(config: TrainingConfig) -> TrainingConfig:
    """Return a configuration whose numbers a linear model can take: imputed, and on a common scale."""
    numeric = config.preprocessing.numeric
    impute = "median" if numeric.impute == "none" else numeric.impute
    scaled = Numeric(impute=impute, fill=numeric.fill, scale="standard")
    preprocessing = config.preprocessing.model_copy(update={"numeric": scaled})
    return config.model_copy(update={"preprocessing": preprocessing})


def _configured(config: TrainingConfig, parameter: str) -> Any:
    algorithm = config.algorithm
    return build_estimator(algorithm.name, algorithm.parameters, config.seed).get_params()[parameter]


def _take(rows: Any, fraction: float, config: TrainingConfig, table: Table) -> Any:
    """Return a fraction of the rows of a fold, ``[rows]``: the latest by time, otherwise any."""
    count = max(2, round(fraction * len(rows)))
    if table.times is not None:
        return np.sort(rows[np.argsort(table.times[rows], kind="stable")[-count:]])
    return np.sort(np.random.default_rng(config.seed).permutation(rows)[:count])


def _has_each_class(config: TrainingConfig, table: Table, folds: Iterable[Fold]) -> bool:
    if config.task != "classification" or table.target is None:
        return True
    n_classes = len(np.unique(table.target))
    return all(len(np.unique(table.target[train])) == n_classes for train, _ in folds)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The estimators of scikit-learn with a task, the arguments that fit them in a moment, and kinds of data."""

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import DensityMixin, OutlierMixin
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators, get_tags
from threadpoolctl import threadpool_limits

Array = NDArray[Any]

FLOAT32, FLOAT64 = "float32", "float64"
MIXED = "text and numbers"
TARGETS = "several targets"
KINDS = (FLOAT32, FLOAT64, MIXED, TARGETS)
"""Kinds of data: 32-bit floats; 64-bit floats; a text with three categories in addition to 64-bit floats,
behind a ``ColumnTransformer``, with texts as classes; 32-bit floats with two targets."""

ROWS = 96

FAST: Mapping[str, Any] = {"n_estimators": 4, "n_clusters": 3, "n_components": 3, "random_state": 0}
"""Arguments for every estimator that has them and is not in :data:`ARGUMENTS` with others."""

_CLASSIFIERS = [("linear", LogisticRegression()), ("tree", DecisionTreeClassifier(max_depth=3))]
_REGRESSORS = [("linear", Ridge()), ("stiff", Ridge(alpha=10.0))]

ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "CCA": {"n_components": 1},
    "CalibratedClassifierCV": {"cv": 2},
    "ClassifierChain": {"estimator": LogisticRegression()},
    "FixedThresholdClassifier": {"estimator": LogisticRegression()},
    "HistGradientBoostingClassifier": {"max_iter": 10, "min_samples_leaf": 5},
    "HistGradientBoostingRegressor": {"max_iter": 10, "min_samples_leaf": 5},
    "LinearDiscriminantAnalysis": {"n_components": None},
    "LocalOutlierFactor": {"novelty": True},
    "LogisticRegressionCV": {"Cs": 3, "cv": 2},
    "MLPClassifier": {"hidden_layer_sizes": (8,), "max_iter": 20},
    "MLPRegressor": {"hidden_layer_sizes": (8,), "max_iter": 20},
    "MultiOutputClassifier": {"estimator": LogisticRegression()},
    "MultiOutputRegressor": {"estimator": Ridge()},
    "OneVsOneClassifier": {"estimator": LogisticRegression()},
    "OneVsRestClassifier": {"estimator": LogisticRegression()},
    "OutputCodeClassifier": {"estimator": LogisticRegression()},
    "PLSCanonical": {"n_components": 1},
    "PLSRegression": {"n_components": 2},
    "QuadraticDiscriminantAnalysis": {"reg_param": 0.1},
    "RadiusNeighborsClassifier": {"radius": 3.0, "outlier_label": "most_frequent"},
    "RadiusNeighborsRegressor": {"radius": 3.0},
    "RegressorChain": {"estimator": Ridge()},
    "SelfTrainingClassifier": {"estimator": LogisticRegression()},
    "StackingClassifier": {"estimators": _CLASSIFIERS, "cv": 2},
    "StackingRegressor": {"estimators": _REGRESSORS, "cv": 2},
    "TunedThresholdClassifierCV": {"estimator": LogisticRegression(), "cv": 2},
    "VotingClassifier": {"estimators": _CLASSIFIERS},
    "VotingRegressor": {"estimators": _REGRESSORS},
}
"""By estimator, the arguments that it needs, or that keep its fit short."""

TWO_CLASSES = frozenset({"FixedThresholdClassifier", "TunedThresholdClassifierCV"})
"""Estimators that choose a threshold, so they have two classes."""

WHOLE_NUMBERS = frozenset({"CategoricalNB"})
ONE_FEATURE = frozenset({"IsotonicRegression"})


@dataclass(frozen=True, slots=True)
class FittedCase:
    """A fitted estimator with the rows it was fitted on.

    Attributes:
        model: The estimator, or a pipeline that ends with it.
        X: The rows, ``[rows, features]``.
        y: The target, ``[rows]`` or ``[rows, targets]``; None for a task without one.
    """

    model: Any
    X: Any
    y: Array | None


@cache
def find_estimators() -> dict[str, type]:
    """Return, by name, every classifier, regressor, clusterer and outlier detector, and the mixtures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that scikit-learn has deprecated
        tasks = dict(all_estimators(type_filter=["classifier", "regressor", "cluster"]))
        rest = {
            name: kind
            for name, kind in all_estimators()
            if issubclass(kind, OutlierMixin | DensityMixin) and hasattr(kind, "predict")
        }
    return tasks | rest


def build_estimator(name: str) -> Any:
    """Build an unfitted estimator with its arguments."""
    kind = find_estimators()[name]
    parameters = inspect.signature(kind).parameters
    arguments = {key: value for key, value in FAST.items() if key in parameters}
    return kind(**arguments | dict(ARGUMENTS.get(name, {})))


def supported_kinds(name: str) -> tuple[str, ...]:
    """Return the kinds of data that an estimator takes."""
    tags = get_tags(build_estimator(name))
    kinds = [FLOAT32, FLOAT64, MIXED] if tags.target_tags.single_output else []
    if name in ONE_FEATURE:
        kinds.remove(MIXED)
    multi_label = tags.classifier_tags is not None and tags.classifier_tags.multi_label
    if tags.estimator_type in ("classifier", "regressor") and (tags.target_tags.multi_output or multi_label):
        kinds.append(TARGETS)
    return tuple(kinds)


def fit_case(name: str, kind: str) -> FittedCase:
    """Fit an estimator on a kind of data."""
    model = build_estimator(name)
    y = _draw_target(get_tags(model).estimator_type, name in TWO_CLASSES, kind)
    values = _draw_values()
    if name in WHOLE_NUMBERS:
        values = np.floor(values)
    if name in ONE_FEATURE:
        values = values[:, :1]
    X: Any = values.astype(np.float64 if kind == FLOAT64 else np.float32)
    if kind == MIXED:
        X = pd.DataFrame(values, columns=[f"number{index}" for index in range(values.shape[1])])
        X["city"] = np.array(["Bern", "Lyon", "Oslo"])[np.arange(ROWS) % 3]
        encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        model = make_pipeline(ColumnTransformer([("city", encode, ["city"])], remainder="passthrough"), model)
    # Threads cost more than they save on few rows.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")  # advice on the fit, which is short on purpose
        return FittedCase(model.fit(X) if y is None else model.fit(X, y), X, y)


def _draw_values() -> Array:
    """Return positive numbers ``[rows, 4]`` in three groups: some estimators take no negative ones."""
    values = np.random.default_rng(0).normal(size=(ROWS, 4)) + 4
    return np.abs(values + 2 * (np.arange(ROWS) % 3)[:, None])


def _draw_target(estimator_type: str | None, two_classes: bool, kind: str) -> Array | None:
    """Return a target ``[rows]`` or ``[rows, 2]`` that depends on the numbers, positive for a regressor."""
    values = _draw_values()
    if estimator_type == "regressor":
        value = 1 + values[:, 0] + 0.5 * values[:, 1] * values[:, 2]
        return np.stack([value, 3 * values[:, 3] + 1], axis=1) if kind == TARGETS else value
    if estimator_type != "classifier":
        return None
    if kind == TARGETS:
        return (values[:, :2] > 6).astype(np.int64)
    classes = np.digitize(values.sum(axis=1), [24] if two_classes else [20, 28])
    return np.array(["high", "low", "middle"], dtype=object)[classes] if kind == MIXED else classes

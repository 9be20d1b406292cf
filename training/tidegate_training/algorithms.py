# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The algorithms that a configuration may name, and nothing beyond them.

The names are scikit-learn's class names. An algorithm is here because the tests train it, save it, read it
back under the server's default policy, and compile it or know the reason why not; to add one, add a line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

Task = Literal["classification", "regression"]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """Where an estimator's class lives, and what it is for."""

    task: Task
    module: str


ALGORITHMS: Mapping[str, Algorithm] = {
    "DecisionTreeClassifier": Algorithm("classification", "sklearn.tree"),
    "ExtraTreesClassifier": Algorithm("classification", "sklearn.ensemble"),
    "GaussianNB": Algorithm("classification", "sklearn.naive_bayes"),
    "GradientBoostingClassifier": Algorithm("classification", "sklearn.ensemble"),
    "HistGradientBoostingClassifier": Algorithm("classification", "sklearn.ensemble"),
    "KNeighborsClassifier": Algorithm("classification", "sklearn.neighbors"),
    "LinearSVC": Algorithm("classification", "sklearn.svm"),
    "LogisticRegression": Algorithm("classification", "sklearn.linear_model"),
    "MLPClassifier": Algorithm("classification", "sklearn.neural_network"),
    "RandomForestClassifier": Algorithm("classification", "sklearn.ensemble"),
    "RidgeClassifier": Algorithm("classification", "sklearn.linear_model"),
    "SVC": Algorithm("classification", "sklearn.svm"),
    "DecisionTreeRegressor": Algorithm("regression", "sklearn.tree"),
    "ElasticNet": Algorithm("regression", "sklearn.linear_model"),
    "ExtraTreesRegressor": Algorithm("regression", "sklearn.ensemble"),
    "GradientBoostingRegressor": Algorithm("regression", "sklearn.ensemble"),
    "HistGradientBoostingRegressor": Algorithm("regression", "sklearn.ensemble"),
    "KNeighborsRegressor": Algorithm("regression", "sklearn.neighbors"),
    "Lasso": Algorithm("regression", "sklearn.linear_model"),
    "LinearRegression": Algorithm("regression", "sklearn.linear_model"),
    "LinearSVR": Algorithm("regression", "sklearn.svm"),
    "MLPRegressor": Algorithm("regression", "sklearn.neural_network"),
    "RandomForestRegressor": Algorithm("regression", "sklearn.ensemble"),
    "Ridge": Algorithm("regression", "sklearn.linear_model"),
    "SVR": Algorithm("regression", "sklearn.svm"),
}


def parameter_names(name: str) -> list[str]:
    """The parameters that an estimator has. Their values are checked by scikit-learn itself, when it fits."""
    return sorted(estimator_class(name)().get_params(deep=False))


def estimator_class(name: str) -> Any:
    """The class of a registered algorithm."""
    return getattr(import_module(ALGORITHMS[name].module), name)


def build(name: str, parameters: Mapping[str, Any], seed: int) -> Any:
    """An unfitted estimator; where it draws random numbers, it draws them from the run's seed."""
    estimator = estimator_class(name)(**parameters)
    if "random_state" in estimator.get_params(deep=False) and "random_state" not in parameters:
        estimator.set_params(random_state=seed)
    return estimator

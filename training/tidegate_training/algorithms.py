# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The registry of algorithms that a configuration may name, by the names of their classes.

To add an algorithm, add a line. The tests then train, save and load it under the server's default policy, and
hold on which kinds of data it compiles.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from tidegate.errors import FieldError

Task = Literal["classification", "regression", "recommendation", "outlier_detection", "clustering"]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An estimator's task, the module of its class, and the parameters that training sets by default.

    An estimator of the project's own names the package that it needs.
    """

    task: Task
    module: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    needs: str | None = None

    @property
    def library(self) -> str:
        """The package that fits the estimator, which is also the extra's name."""
        return self.needs or self.module.partition(".")[0]


_XGBOOST = {"n_jobs": 1}
"""One thread, because the order of a parallel sum changes the digest."""

_LIGHTGBM = {"n_jobs": 1, "deterministic": True, "force_row_wise": True, "verbose": -1}
"""One thread for the digest, one way to build histograms instead of the faster one of a trial, and no log."""


_NETWORKS = "tidegate_training.networks.estimators"

_CATBOOST = {"thread_count": 1, "allow_writing_files": False, "verbose": False}
"""One thread for the digest, and no files and no log."""


ALGORITHMS: Mapping[str, Algorithm] = {
    "CatBoostClassifier": Algorithm("classification", "catboost", _CATBOOST),
    "DecisionTreeClassifier": Algorithm("classification", "sklearn.tree"),
    "ExtraTreesClassifier": Algorithm("classification", "sklearn.ensemble"),
    "GaussianNB": Algorithm("classification", "sklearn.naive_bayes"),
    "GradientBoostingClassifier": Algorithm("classification", "sklearn.ensemble"),
    "HistGradientBoostingClassifier": Algorithm("classification", "sklearn.ensemble"),
    "KNeighborsClassifier": Algorithm("classification", "sklearn.neighbors"),
    "KerasClassifier": Algorithm("classification", _NETWORKS, needs="keras"),
    "LGBMClassifier": Algorithm("classification", "lightgbm", _LIGHTGBM),
    "LinearSVC": Algorithm("classification", "sklearn.svm"),
    "LogisticRegression": Algorithm("classification", "sklearn.linear_model"),
    "MLPClassifier": Algorithm("classification", "sklearn.neural_network"),
    "RandomForestClassifier": Algorithm("classification", "sklearn.ensemble"),
    "RidgeClassifier": Algorithm("classification", "sklearn.linear_model"),
    "SVC": Algorithm("classification", "sklearn.svm"),
    "XGBClassifier": Algorithm("classification", "xgboost", _XGBOOST),
    "CatBoostRegressor": Algorithm("regression", "catboost", _CATBOOST),
    "DecisionTreeRegressor": Algorithm("regression", "sklearn.tree"),
    "ElasticNet": Algorithm("regression", "sklearn.linear_model"),
    "ExtraTreesRegressor": Algorithm("regression", "sklearn.ensemble"),
    "GradientBoostingRegressor": Algorithm("regression", "sklearn.ensemble"),
    "HistGradientBoostingRegressor": Algorithm("regression", "sklearn.ensemble"),
    "KNeighborsRegressor": Algorithm("regression", "sklearn.neighbors"),
    "KerasRegressor": Algorithm("regression", _NETWORKS, needs="keras"),
    "LGBMRegressor": Algorithm("regression", "lightgbm", _LIGHTGBM),
    "Lasso": Algorithm("regression", "sklearn.linear_model"),
    "LinearRegression": Algorithm("regression", "sklearn.linear_model"),
    "LinearSVR": Algorithm("regression", "sklearn.svm"),
    "MLPRegressor": Algorithm("regression", "sklearn.neural_network"),
    "RandomForestRegressor": Algorithm("regression", "sklearn.ensemble"),
    "Ridge": Algorithm("regression", "sklearn.linear_model"),
    "SVR": Algorithm("regression", "sklearn.svm"),
    "XGBRegressor": Algorithm("regression", "xgboost", _XGBOOST),
    "EllipticEnvelope": Algorithm("outlier_detection", "sklearn.covariance"),
    "IsolationForest": Algorithm("outlier_detection", "sklearn.ensemble"),
    "LocalOutlierFactor": Algorithm("outlier_detection", "sklearn.neighbors", {"novelty": True}),
    "OneClassSVM": Algorithm("outlier_detection", "sklearn.svm"),
    "SGDOneClassSVM": Algorithm("outlier_detection", "sklearn.linear_model"),
    "BayesianGaussianMixture": Algorithm("clustering", "sklearn.mixture"),
    "BisectingKMeans": Algorithm("clustering", "sklearn.cluster"),
    "GaussianMixture": Algorithm("clustering", "sklearn.mixture"),
    "KMeans": Algorithm("clustering", "sklearn.cluster"),
    "MiniBatchKMeans": Algorithm("clustering", "sklearn.cluster"),
    "ImplicitALS": Algorithm("recommendation", "tidegate.recommenders"),
}


def _registered(name: str) -> str:
    if name not in ALGORITHMS:
        raise ValueError(f"unknown algorithm, expected one of {', '.join(sorted(ALGORITHMS))}")
    return name


AlgorithmName = Annotated[str, AfterValidator(_registered)]
"""The name of a registered algorithm, as a field of a configuration."""


_OBJECTIVE_PARAMETERS = {"XGBRegressor": {"huber_slope", "quantile_alpha", "tweedie_variance_power"}}
"""Parameters of objectives, which a class passes on to its library without a name for them."""


def parameter_names(name: str) -> list[str]:
    """Return the names of an estimator's parameters. scikit-learn validates their values when it fits."""
    return sorted(_parameters(name))


def _parameters(name: str) -> set[str]:
    """Return the parameters of an estimator's class. CatBoost's ``get_params`` has those that are set."""
    kind = estimator_class(name)
    arguments = inspect.signature(kind).parameters.values()
    named = {argument.name for argument in arguments if argument.kind is not inspect.Parameter.VAR_KEYWORD}
    return named | set(kind().get_params(deep=False)) | _OBJECTIVE_PARAMETERS.get(name, set())


def validate_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    """Check an estimator's parameters: their names, and the values of a network's.

    Raises:
        FieldError: If the estimator has no parameter of a name, or a value is wrong.
    """
    allowed = parameter_names(name)
    for parameter in parameters:
        if parameter not in allowed:
            raise FieldError(
                (parameter,), f"unknown parameter of {name}, expected one of {', '.join(allowed)}"
            )
    validate = getattr(estimator_class(name), "validate_parameters", None)
    if validate is not None:
        validate(parameters)


def supports_sample_weight(name: str) -> bool:
    """Return whether an estimator's ``fit`` takes a weight per row."""
    from sklearn.utils.validation import has_fit_parameter

    return bool(has_fit_parameter(estimator_class(name), "sample_weight"))


def estimator_class(name: str) -> Any:
    """Import the class of a registered algorithm.

    Raises:
        FieldError: If a library with an extra of its own is not installed, or cannot be imported.
        ModuleNotFoundError: If scikit-learn is not installed, which belongs to training itself.
    """
    algorithm = ALGORITHMS[name]
    try:
        if algorithm.needs is not None and find_spec(algorithm.needs) is None:
            raise ModuleNotFoundError(name=algorithm.needs)
        return getattr(import_module(algorithm.module), name)
    except ModuleNotFoundError as error:
        if error.name != algorithm.library or algorithm.library == "sklearn":
            raise
        raise FieldError(
            ("name",),
            f"{name} needs the package {algorithm.library}, which is not installed: install "
            f"tidegate[training,{algorithm.library}]",
        ) from None
    except OSError as error:  # a library of the system is missing, such as that of OpenMP
        raise FieldError(
            ("name",),
            f"{name} cannot be imported ({error}): install the system library that {algorithm.library} needs",
        ) from None


def build_estimator(name: str, parameters: Mapping[str, Any], seed: int) -> Any:
    """Build an unfitted estimator.

    Args:
        name: The algorithm's name.
        parameters: The estimator's parameters by name.
        seed: The estimator's ``random_state``, if it has one and the parameters do not set it.
    """
    estimator = estimator_class(name)(**{**ALGORITHMS[name].defaults, **parameters})
    seeds = {"random_state", "random_seed"}
    if "random_state" in _parameters(name) and seeds.isdisjoint(parameters):
        estimator.set_params(random_state=seed)
    if name == "XGBClassifier":
        from tidegate.classifiers import LabelEncodedClassifier

        return LabelEncodedClassifier(estimator)
    return estimator

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Boosters from the files of their own libraries, as estimators with scikit-learn's interface.

These files hold trees and no code. Those of XGBoost and LightGBM have no names of classes: the classes are 0,
1, 2 and so on.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.errors import ConfigurationError

LIBRARIES = {
    ".ubj": "xgboost",
    ".json": "xgboost",
    ".xgb": "xgboost",
    ".txt": "lightgbm",
    ".lgb": "lightgbm",
    ".cbm": "catboost",
}
"""Libraries by the ends of their files' names; ``.xgb`` and ``.lgb`` are MLflow's."""

_LIGHTGBM_CLASSIFICATION = ("binary", "multiclass", "multiclassova")
_CATBOOST_CLASSIFICATION = ("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll")


def read_booster(file: Path) -> Any:
    """Read a booster as the estimator for its objective.

    Raises:
        ConfigurationError: If the library is not installed, or cannot read the file.
    """
    library = LIBRARIES[file.suffix.lower()]
    import_library(file, library)
    return _READERS[library](file)


def import_library(file: Path, name: str) -> Any:
    """Import the library that a file needs.

    Raises:
        ConfigurationError: If the library is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"{file} needs the package {name}, which is not installed: install tidegate[training,{name}]."
        ) from None


def _read_xgboost(file: Path) -> Any:
    from xgboost import Booster, XGBClassifier, XGBRegressor
    from xgboost.core import XGBoostError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the end .xgb of a name says no format
            objective = json.loads(Booster(model_file=file).save_config())["learner"]["objective"]["name"]
            estimator = XGBClassifier() if objective.startswith(("binary:", "multi:")) else XGBRegressor()
            estimator.load_model(file)
    except (XGBoostError, TypeError):  # TypeError: the objective is that of another estimator
        raise ConfigurationError(
            f"{file} cannot be read as a model of XGBoost: expected a file of its save_model; save it again."
        ) from None
    return estimator


def _read_lightgbm(file: Path) -> Any:
    """Read a text file of LightGBM, which has no estimator: fit one to a few rows, and replace its trees."""
    import pandas as pd
    from lightgbm import Booster, LGBMClassifier, LGBMRegressor
    from lightgbm.basic import LightGBMError

    try:
        if not file.read_bytes().startswith(b"tree\n"):  # LightGBM would write an error of its own to stdout
            raise LightGBMError("no trees")
        booster = Booster(model_file=file)
    except LightGBMError:
        raise ConfigurationError(
            f"{file} cannot be read as a model of LightGBM: expected a text file of its save_model; save it "
            "again."
        ) from None
    description = booster.dump_model(num_iteration=1)
    objective = (description.get("objective") or "none").split()[0]
    is_classifier = objective in _LIGHTGBM_CLASSIFICATION
    n_rows = max(2, description["num_class"])  # one per class
    names = booster.feature_name()
    rows: Any = np.zeros((n_rows, len(names)))
    if names != [f"Column_{index}" for index in range(len(names))]:  # LightGBM's names of unnamed columns
        rows = pd.DataFrame(rows, columns=names)
    kind = LGBMClassifier if is_classifier else LGBMRegressor
    estimator = kind(n_estimators=1, n_jobs=1, verbose=-1).fit(rows, np.arange(n_rows))
    estimator._Booster = booster
    return estimator.set_params(objective=objective, n_estimators=booster.current_iteration())


def _read_catboost(file: Path) -> Any:
    from catboost import CatBoost, CatBoostClassifier, CatBoostError, CatBoostRegressor

    try:
        objective = CatBoost().load_model(str(file)).get_all_params()["loss_function"].partition(":")[0]
        kind = CatBoostClassifier if objective in _CATBOOST_CLASSIFICATION else CatBoostRegressor
        return kind().load_model(str(file))
    except (CatBoostError, KeyError):  # KeyError: a model without the parameters of its training
        raise ConfigurationError(
            f"{file} cannot be read as a model of CatBoost: expected a file of its save_model; save it again."
        ) from None


_READERS: Mapping[str, Callable[[Path], Any]] = {
    "xgboost": _read_xgboost,
    "lightgbm": _read_lightgbm,
    "catboost": _read_catboost,
}

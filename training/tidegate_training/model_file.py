# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Fitted models and their sample rows from files.

A pickle runs code while it is opened. It is opened only if the caller allows it, and never ends in a bundle.
"""

import json
import warnings
from pathlib import Path
from typing import Any

from tidegate.errors import ConfigurationError, FieldError
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.config import Data
from tidegate_training.source import Source, read_source

PICKLES = (".joblib", ".pkl", ".pickle")
ARCHIVES = (".skops",)
XGBOOST = (".ubj", ".json")


def read_model(file: Path, policy: Policy, *, allow_pickle: bool) -> Any:
    """Read a fitted estimator from a file.

    Args:
        file: A pickle, an archive of skops, or a model that XGBoost has saved.
        policy: The types that an archive may contain.
        allow_pickle: Whether a pickle may be opened, which can run any code.

    Raises:
        ConfigurationError: If the file has another format, is missing, is a pickle that must not be opened,
            or belongs to another version of scikit-learn.
        BundleError: If an archive contains a type that the policy does not trust.
    """
    suffix = file.suffix.lower()
    if suffix not in (*PICKLES, *ARCHIVES, *XGBOOST):
        raise ConfigurationError(
            f"{file} is not a model that can be bundled: expected a file that ends in "
            f"{', '.join((*PICKLES, *ARCHIVES, *XGBOOST))}; save the fitted estimator with joblib or skops."
        )
    if suffix in PICKLES and not allow_pickle:
        raise ConfigurationError(
            f"{file} is a pickle, and opening a pickle can run any code with your rights: if you trust its "
            "author, add --allow-pickle."
        )
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from None
    if suffix in ARCHIVES:
        return build_pipeline(content, policy)
    return _read_xgboost(file) if suffix in XGBOOST else _unpickle(file)


def _read_xgboost(file: Path) -> Any:
    """Read a model of XGBoost as the estimator for its objective."""
    try:
        from xgboost import Booster, XGBClassifier, XGBRegressor
        from xgboost.core import XGBoostError
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"{file} needs the package xgboost, which is not installed: install tidegate[training,xgboost]."
        ) from None
    try:
        objective = json.loads(Booster(model_file=file).save_config())["learner"]["objective"]["name"]
        estimator = XGBClassifier() if objective.startswith(("binary:", "multi:")) else XGBRegressor()
        estimator.load_model(file)
    except (XGBoostError, TypeError):  # TypeError: the objective is that of another estimator
        raise ConfigurationError(
            f"{file} cannot be read as a model of XGBoost: expected a file of its save_model; save it again."
        ) from None
    return estimator


def _unpickle(file: Path) -> Any:
    import joblib
    from sklearn.exceptions import InconsistentVersionWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", InconsistentVersionWarning)
            return joblib.load(file)
    except InconsistentVersionWarning as warning:
        raise ConfigurationError(
            f"{file} was saved with scikit-learn {warning.original_sklearn_version}, and this environment "
            f"has {warning.current_sklearn_version}: only the same version reads it reliably; install that "
            "version, or fit the model again."
        ) from None
    except Exception as error:  # a pickle raises anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ConfigurationError(
            f"{file} cannot be opened ({reason}): install the packages that it needs, or save it again."
        ) from None


def read_rows(file: str, target: str | None, names: list[str] | None) -> tuple[Any, Any]:
    """Read sample rows, and the true values if their column is named.

    A file does not say whether a column of whole numbers may have fractions, so all numbers are 64-bit
    floats.

    Args:
        file: A CSV or Parquet file, or an object such as ``s3://bucket/key.csv``.
        target: The column of the true values; None without one.
        names: The columns that the model was fitted on; by default all except the target.

    Returns:
        The rows as a data frame, and the values as an array ``[rows]`` or None.

    Raises:
        ConfigurationError: If a column is missing.
        DataError: If the file cannot be read.
    """
    import pandas as pd

    try:
        source = read_source(Data(path=file), Path())
    except FieldError as error:
        raise ConfigurationError(f"{file}: {error.problem}.") from None
    wanted = names if names is not None else [name for name in source.names if name != target]
    for name in [*wanted, *([target] if target is not None else [])]:
        if name not in source.names:
            raise ConfigurationError(
                f"{source.name} has no column '{name}': expected {', '.join(wanted[:10])}"
                f"{' and the target ' + target if target is not None else ''}; received "
                f"{', '.join(source.names[:10])}."
            )
    frame = pd.DataFrame({name: _values(source, name) for name in wanted})
    return frame, None if target is None else source.column(target).convert(None).values


def _values(source: Source, name: str) -> Any:
    column = source.column(name).convert(None)
    return column.values.astype("float64") if column.kind == "integer" else column.values

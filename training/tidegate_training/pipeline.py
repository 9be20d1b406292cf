# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline: preprocessing and estimator as one object, fitted together on the training part alone.

What is fitted here is what is saved and served, so no scaler can be forgotten, and none has seen the rows
that judge it.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.contract import Datatype
from tidegate.errors import DataError, FieldError
from tidegate_training.algorithms import build
from tidegate_training.config import Numeric, Preprocessing, Text, TrainingConfig
from tidegate_training.split import Indices
from tidegate_training.table import Table

ESTIMATOR = "estimator"
"""The name of the pipeline's last step."""


def make_pipeline(config: TrainingConfig, table: Table) -> Any:
    """An unfitted pipeline for a table's features.

    Features of one numeric type arrive as a matrix and need no names. Others are columns of a data frame:
    each type has its own preprocessing, and texts become one column a category.
    """
    from sklearn.pipeline import Pipeline

    estimator = build(config.algorithm.name, config.algorithm.parameters, config.seed)
    if table.is_matrix:
        datatype = next(iter(table.datatypes.values()))
        steps = _numeric_steps(config.preprocessing.numeric, datatype)
    else:
        steps = [("columns", _by_type(config.preprocessing, table.datatypes, config.float_dtype))]
    return Pipeline([*steps, (ESTIMATOR, estimator)])


def fit(config: TrainingConfig, table: Table, rows: Indices) -> tuple[Any, list[str]]:
    """Fit a pipeline on some rows, and on nothing else.

    Returns:
        The fitted pipeline, and what scikit-learn warned of, a sentence each.

    Raises:
        DataError: Values are missing that nothing fills in, or the estimator cannot take the data.
        FieldError: A parameter's value is none that the estimator takes.
    """
    pipeline = make_pipeline(config, table)
    if config.preprocessing.numeric.impute == "none":
        _refuse_missing(pipeline[-1], table)
    _refuse_empty(table, rows)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pipeline.fit(table.batch(rows).for_sklearn(), table.target[rows])
        except ValueError as error:
            # scikit-learn's own checks; its class for bad parameters is a ValueError and not public.
            sentence = " ".join(str(error).split()).rstrip(".")
            if type(error).__name__ == "InvalidParameterError":
                named = [name for name in config.algorithm.parameters if f"'{name}' parameter" in sentence]
                raise FieldError(("algorithm", "parameters", *named[:1]), sentence) from None
            raise DataError(f"{config.algorithm.name} cannot be fitted to the data: {sentence}.") from None
    notes = (f"{warning.category.__name__}: {' '.join(str(warning.message).split())}" for warning in caught)
    return pipeline, list(dict.fromkeys(notes))


def _numeric_steps(options: Numeric, datatype: Datatype) -> list[tuple[str, Any]]:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    scalers = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}
    steps: list[tuple[str, Any]] = []
    # Only floats have missing values; to scale truth values would only hide what they are.
    if options.impute != "none" and datatype.is_float:
        steps.append(("impute", SimpleImputer(strategy=options.impute, fill_value=options.fill)))
    if options.scale != "none" and datatype is not Datatype.BOOL:
        steps.append(("scale", scalers[options.scale]()))
    return steps


def _by_type(options: Preprocessing, datatypes: Mapping[str, Datatype], precision: str) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    transformers: list[tuple[str, Any, list[str]]] = []
    for datatype in Datatype:
        names = [name for name, found in datatypes.items() if found is datatype]
        if not names:
            continue
        if datatype is Datatype.BYTES:
            transformers.append((datatype, _one_hot(options.text, precision), names))
        else:
            steps = _numeric_steps(options.numeric, datatype)
            transformers.append((datatype, Pipeline(steps) if steps else "passthrough", names))
    return ColumnTransformer([(str(key).lower(), step, names) for key, step, names in transformers])


def _one_hot(options: Text, precision: str) -> Any:
    from sklearn.preprocessing import OneHotEncoder

    grouped = options.min_frequency is not None or options.max_categories is not None
    return OneHotEncoder(
        drop=None if options.drop == "none" else options.drop,
        min_frequency=options.min_frequency,
        max_categories=options.max_categories,
        # Whether an unknown category may be asked about at all is the contract's to say; an encoder that
        # raised would fail every other request of the batch.
        handle_unknown="infrequent_if_exist" if grouped else "ignore",
        sparse_output=False,
        dtype=np.dtype(precision).type,
    )


def _refuse_missing(estimator: Any, table: Table) -> None:
    """Say which number is missing, if the estimator does not take missing ones."""
    if estimator.__sklearn_tags__().input_tags.allow_nan:
        return
    for name, datatype in table.datatypes.items():
        missing = table.missing(name)
        if datatype.is_float and missing.any():
            raise DataError(
                f"The feature '{name}' is missing in row {int(np.argmax(missing)) + 1}, and "
                f"{type(estimator).__name__} takes no missing values: set preprocessing.numeric.impute."
            )


def _refuse_empty(table: Table, rows: Indices) -> None:
    """Say which feature has nothing to learn from."""
    for name, datatype in table.datatypes.items():
        if datatype.is_float and table.missing(name)[rows].all():
            raise DataError(
                f"The feature '{name}' has no value in the training part; leave it out with features.drop."
            )

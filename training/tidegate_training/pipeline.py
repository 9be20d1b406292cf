# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline: preprocessing and estimator as one object, fitted together on the training rows alone.

The fitted object is saved and served as a whole, so a scaler cannot be lost. No step is fitted on the rows
that evaluate the model.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tidegate.contract import Datatype
from tidegate.errors import DataError, FieldError, TidegateError
from tidegate_training.algorithms import build_estimator
from tidegate_training.bundling.features import FeatureTable, Indices
from tidegate_training.config import Categorical, FeatureOptions, Numeric, Text, TrainingConfig
from tidegate_training.data.table import Table

ESTIMATOR = "estimator"
"""The name of the pipeline's last step."""

_NEED_DENSE = frozenset(
    {
        "KNeighborsClassifier",
        "KNeighborsRegressor",
        "LocalOutlierFactor",
        "OneClassSVM",
        "SVC",
        "SVR",
        "XGBClassifier",
        "XGBRegressor",
    }
)
"""Algorithms that support sparse matrices and do not receive them. The state of neighbors and support vectors
has training rows, and the default policy does not trust sparse matrices. XGBoost takes each zero of a sparse
matrix for a missing value."""


def build_pipeline(config: TrainingConfig, features: FeatureTable) -> Any:
    """Build an unfitted pipeline.

    Features of one numeric type are a matrix without names. Other features are columns of a data frame: each
    type has its own preprocessing, categories are one-hot encoded, and ordered categories become their ranks.
    A recommender takes its one column of users as it is.
    """
    from sklearn.pipeline import Pipeline

    estimator = build_estimator(config.algorithm.name, config.algorithm.parameters, config.seed)
    if config.task == "recommendation":
        return Pipeline([(ESTIMATOR, estimator)])
    options = {name: config.features.overrides.get(name, FeatureOptions()) for name in features.datatypes}
    if features.is_matrix and not any(feature.categorical for feature in options.values()):
        datatype = next(iter(features.datatypes.values()))
        steps = _numeric_steps(config.preprocessing.numeric, datatype)
    else:
        steps = [
            ("columns", _preprocess_columns(config, features, options, _takes_sparse(config, estimator)))
        ]
    return Pipeline([*steps, (ESTIMATOR, estimator)])


def fit_pipeline(config: TrainingConfig, table: Table, rows: Indices) -> tuple[Any, list[str]]:
    """Fit a pipeline on the training rows.

    Args:
        config: The configuration.
        table: The data.
        rows: The numbers of the training rows, ``[training_rows]``.

    Returns:
        The fitted pipeline, and the warnings of scikit-learn, each once.

    Raises:
        DataError: If a value is missing that the pipeline does not impute, or the estimator rejects the data.
        FieldError: If the estimator rejects the value of a parameter, or ``class_weight`` names an unknown
            class.
    """
    pipeline = build_pipeline(config, table.features)
    class_weight = config.algorithm.parameters.get("class_weight")
    if isinstance(class_weight, dict):
        assert table.target is not None  # it is a classification
        pipeline[-1].set_params(class_weight=_by_class(class_weight, np.unique(table.target).tolist()))
    weights = table.weights_of(rows)
    fit_parameters = {} if weights is None else {f"{ESTIMATOR}__sample_weight": weights}
    _require_sparse(config, pipeline[-1])
    if config.preprocessing.numeric.impute == "none":
        _require_no_missing_values(config, pipeline[-1], table.features)
    _require_a_value_per_feature(table.features, rows)
    target = table.target[rows] if config.is_supervised and table.target is not None else None
    training_rows = table.features.sklearn_rows(rows, table.features.layout)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pipeline.fit(training_rows, target, **fit_parameters)
        except TidegateError:  # from an estimator of the project
            raise
        except Exception as error:  # an estimator raises any exception, not only ValueError
            # scikit-learn's class for invalid parameters is not public.
            message = " ".join(str(error).split()).rstrip(".")
            if type(error).__name__ == "InvalidParameterError":
                named = [name for name in config.algorithm.parameters if f"'{name}' parameter" in message]
                raise FieldError(("algorithm", "parameters", *named[:1]), message) from None
            if not isinstance(error, ValueError):
                message = f"{type(error).__name__}: {message}"
            raise DataError(f"{config.algorithm.name} cannot be fitted to the data: {message}.") from None
    if not hasattr(pipeline, "predict"):
        raise FieldError(
            ("algorithm", "parameters"),
            f"{config.algorithm.name} cannot predict for new rows with these parameters: remove novelty",
        )
    messages = (
        f"{warning.category.__name__}: {' '.join(str(warning.message).split())}" for warning in caught
    )
    return pipeline, list(dict.fromkeys(messages))


def _by_class(weights: Mapping[str, Any], classes: list[int | str]) -> dict[int | str, Any]:
    """Return weights by class, as scikit-learn looks them up; their names are texts, as in JSON.

    scikit-learn 1.9 looks a class whose text is a whole number up as that number, ``"007"`` as 7.
    """
    known = set(map(str, classes))
    by_class: dict[int | str, Any] = {}
    for name, weight in weights.items():
        try:
            key: int | str = int(name)
        except ValueError:
            key = name
        if name not in known or key in by_class:
            problem = (
                "unknown class" if name not in known else f"a second class that scikit-learn reads as {key}"
            )
            raise FieldError(
                ("algorithm", "parameters", "class_weight", name),
                f"{problem}, expected one of {', '.join(map(str, classes))}",
            )
        by_class[key] = weight
    return by_class


def _numeric_steps(options: Numeric, datatype: Datatype) -> list[tuple[str, Any]]:
    from sklearn.impute import SimpleImputer

    steps: list[tuple[str, Any]] = []
    # Only floats have missing values. Booleans are not scaled: 0 and 1 are on a common scale already.
    if options.impute != "none" and datatype.is_float:
        steps.append(("impute", SimpleImputer(strategy=options.impute, fill_value=options.fill)))
    return steps if datatype is Datatype.BOOL else [*steps, *_scaling_steps(options)]


def _scaling_steps(options: Numeric) -> list[tuple[str, Any]]:
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    scalers = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}
    return [] if options.scale == "none" else [("scale", scalers[options.scale]())]


def _preprocess_columns(
    config: TrainingConfig, features: FeatureTable, options: Mapping[str, FeatureOptions], sparse: bool
) -> Any:
    """Return the preprocessing of features by their types and uses, with one step per use.

    Args:
        config: The configuration.
        features: The features.
        options: By feature, its options.
        sparse: Whether the estimator receives a sparse matrix, which only vectorized texts make.
    """
    from sklearn.compose import ColumnTransformer

    # A matrix has no names, so its columns are selected by their positions.
    selectors = {name: index if features.is_matrix else name for index, name in enumerate(features.datatypes)}
    groups: dict[str, list[str]] = {}
    for name, datatype in features.datatypes.items():
        if options[name].free_text or options[name].format is not None:
            continue
        groups.setdefault(_group(datatype, options[name]), []).append(name)
    transformers: list[tuple[str, Any, Any]] = [
        (
            group,
            _preprocess_group(config, features.datatypes[names[0]], [options[name] for name in names]),
            [selectors[name] for name in names],
        )
        for group, names in groups.items()
    ]
    # A vectorizer takes one column, selected by a name instead of a list of names.
    free_texts = [name for name in features.datatypes if options[name].free_text]
    transformers += [
        (f"text_{number}", _vectorizer(config.preprocessing.text, config.float_dtype), name)
        for number, name in enumerate(free_texts)
    ]
    transformers += _datetime_transformers(config, options)
    return ColumnTransformer(transformers, sparse_threshold=1.0 if sparse else 0.0)


def _datetime_transformers(
    config: TrainingConfig, options: Mapping[str, FeatureOptions]
) -> list[tuple[str, Any, list[str]]]:
    """Return the steps that compute the parts of dates and times, and the differences between them."""
    from sklearn.pipeline import Pipeline

    from tidegate.transformers import DatetimeDifference, DatetimeEncoder

    settings, dtype = config.preprocessing.datetime, np.dtype(config.float_dtype).type
    steps: list[tuple[str, Any, list[str]]] = []
    for time_format in ("date", "date-time"):
        names = [name for name, feature in options.items() if feature.format == time_format]
        parts = tuple(part for part in settings.parts if (part, time_format) != ("hour", "date"))
        if names and parts:
            steps.append((time_format, DatetimeEncoder(parts, dtype), names))
    known = [name for name, feature in options.items() if feature.format is not None]
    for number, names in enumerate(settings.differences):
        for index, name in enumerate(names):
            if name not in known:
                raise FieldError(
                    ("preprocessing", "datetime", "differences", number, index),
                    f"'{name}' is not a date or a time, expected one of {', '.join(known) or 'none'}",
                )
        steps.append((f"difference_{number}", DatetimeDifference(dtype), names))
    # The parts are numbers like others. They are floats, because a part of a missing date is missing.
    return [
        (
            name,
            Pipeline([("datetime", step), *_numeric_steps(config.preprocessing.numeric, Datatype.FP64)]),
            names,
        )
        for name, step, names in steps
    ]


def _takes_sparse(config: TrainingConfig, estimator: Any) -> bool:
    return bool(estimator.__sklearn_tags__().input_tags.sparse) and config.algorithm.name not in _NEED_DENSE


def _group(datatype: Datatype, options: FeatureOptions) -> str:
    """Return the name of the preprocessing step that a feature shares with features like it."""
    if options.order is not None:
        return "ordered"
    if options.categorical and datatype is not Datatype.BYTES:
        return f"{datatype.lower()}_categories"
    return datatype.lower()


def _preprocess_group(config: TrainingConfig, datatype: Datatype, options: Sequence[FeatureOptions]) -> Any:
    """Return the preprocessing of features of one group.

    Args:
        config: The configuration.
        datatype: The features' data type.
        options: The features' options.
    """
    from sklearn.pipeline import Pipeline

    first = options[0]
    if first.order is not None:
        ranks = _rank_encoder([feature.order or [] for feature in options], config.float_dtype)
        return Pipeline([("rank", ranks), *_scaling_steps(config.preprocessing.numeric)])
    if datatype is Datatype.BYTES or first.categorical:
        return _one_hot_encoder(config.preprocessing.categorical, config.float_dtype)
    return (
        Pipeline(steps)
        if (steps := _numeric_steps(config.preprocessing.numeric, datatype))
        else "passthrough"
    )


def _rank_encoder(orders: Sequence[Sequence[str]], float_dtype: str) -> Any:
    """Return an encoder of ordered categories: ranks from 0, and -1 for a missing or unknown category."""
    from sklearn.preprocessing import OrdinalEncoder

    return OrdinalEncoder(
        categories=[np.array(order, dtype=object) for order in orders],
        handle_unknown="use_encoded_value",
        unknown_value=-1,
        dtype=np.dtype(float_dtype).type,
    )


def _one_hot_encoder(options: Categorical, float_dtype: str) -> Any:
    from sklearn.preprocessing import OneHotEncoder

    grouped = options.min_frequency is not None or options.max_categories is not None
    return OneHotEncoder(
        drop=None if options.drop == "none" else options.drop,
        min_frequency=options.min_frequency,
        max_categories=options.max_categories,
        # The contract decides whether the server accepts an unknown category. An encoder that raised an error
        # would fail the other requests of the batch.
        handle_unknown="infrequent_if_exist" if grouped else "ignore",
        sparse_output=False,
        dtype=np.dtype(float_dtype).type,
    )


def _vectorizer(options: Text, float_dtype: str) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

    shared = {
        "analyzer": options.analyzer,
        "ngram_range": options.ngram_range,
        "dtype": np.dtype(float_dtype).type,
    }
    if options.vectorizer == "hashing":
        return HashingVectorizer(n_features=options.n_features, **shared)
    return TfidfVectorizer(min_df=options.min_df, max_features=options.max_features, **shared)


def _require_sparse(config: TrainingConfig, estimator: Any) -> None:
    """Raise an error for hashed texts if the estimator needs a dense matrix, which would be too large."""
    hashed = config.preprocessing.text.vectorizer == "hashing"
    free_text = any(options.free_text for options in config.features.overrides.values())
    if hashed and free_text and not _takes_sparse(config, estimator):
        raise FieldError(
            ("preprocessing", "text", "vectorizer"),
            f"{config.algorithm.name} needs a dense matrix, and hashed texts have "
            f"{config.preprocessing.text.n_features} columns: set tfidf, or choose another algorithm",
        )


def _require_no_missing_values(config: TrainingConfig, estimator: Any, features: FeatureTable) -> None:
    """Raise an error for a missing number or date, unless the estimator supports missing values."""
    if estimator.__sklearn_tags__().input_tags.allow_nan:
        return
    for name, datatype in features.datatypes.items():
        missing = features.missing(name)
        options = config.features.overrides.get(name, FeatureOptions())
        if (datatype.is_float or options.format is not None) and missing.any():
            raise DataError(
                f"The feature '{name}' is missing in row {int(np.argmax(missing)) + 1}, and "
                f"{config.algorithm.name} does not support missing values: set "
                "preprocessing.numeric.impute."
            )


def _require_a_value_per_feature(features: FeatureTable, rows: Indices) -> None:
    """Raise an error for a feature without a value in the training rows."""
    for name in features.datatypes:
        if features.missing(name)[rows].all():
            raise DataError(
                f"The feature '{name}' has no value in the training rows: leave it out with features.drop."
            )

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of models that are fitted already: any estimator with scikit-learn's interface, and sample rows.

The sample rows become ranges, golden requests and the baseline, so they should be the rows that the model was
fitted on, or rows like them. Nothing is fitted here.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tidegate.bundle import Bundle
from tidegate.contract import NAME_PATTERN, Datatype, Output, Task
from tidegate.digest import sha256
from tidegate.errors import BundleError, ConfigurationError, DataError, FieldError, first_problem
from tidegate.outputs import decide_labels
from tidegate.trust.policy import Policy
from tidegate_training.bundling.features import FeaturePolicy, FeatureTable
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.bundling.outputs import (
    detect_labels,
    detect_outputs,
    predict_outputs,
    prediction_datatype,
)
from tidegate_training.bundling.parity import TOLERANCE
from tidegate_training.bundling.samples import Samples, read_samples
from tidegate_training.config import ModelCard, Threshold
from tidegate_training.data.table import MAX_CATEGORIES
from tidegate_training.decision import choose_threshold
from tidegate_training.evaluation.estimates import Evaluator
from tidegate_training.evaluation.evaluation import evaluate
from tidegate_training.evaluation.metrics import choose_positive_label
from tidegate_training.model_card import CardContext
from tidegate_training.networks.translation import is_keras_model
from tidegate_training.networks.wrapping import wrap_model
from tidegate_training.output_dir import validate_output_dir
from tidegate_training.pipeline import ESTIMATOR
from tidegate_training.provenance import collect_provenance
from tidegate_training.sealing import NotSavedError, ServerBuild, build_as_server, ignore_step, seal_model

Array = NDArray[Any]

SAMPLE = "sample"
"""The name of the one split: the rows that the caller gave."""

_TASKS: dict[str, Task] = {
    "classifier": "classification",
    "regressor": "regression",
    "outlier_detector": "outlier_detection",
    "clusterer": "clustering",
    "density_estimator": "clustering",
    "recommender": "recommendation",
}
"""Tasks by scikit-learn's estimator type; the density estimators with ``predict`` are mixtures."""


def bundle(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    name: str,
    directory: Path | str | None = None,
    task: Task | None = None,
    positive_label: int | str | None = None,
    threshold: float | Mapping[str, Any] | None = None,
    handle_unknown: Literal["reject", "accept"] = "reject",
    seed: int = 0,
    golden_rows: int = 8,
    trusted_types: Iterable[str] = (),
    model_card: ModelCard | None = None,
    on_step: Callable[[str], None] = ignore_step,
) -> Bundle:
    """Seal a fitted model into a bundle, with contract, proof and model card.

    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> sealed = bundle(model, X, y, name="iris", directory=tempfile.mkdtemp())
    >>> sealed.contract.feature_names[0]
    'sepal length (cm)'

    Args:
        model: A fitted estimator or pipeline of scikit-learn, one with the same interface, or a model of
            Keras.
        X: Sample rows, as the model takes them: a pandas or polars data frame, an array ``[rows, features]``,
            or a list ``[rows]`` of texts.
        y: The true classes or values, ``[rows]`` or ``[rows, targets]``, for the metrics.
        name: The model's name: lower-case letters, digits and dashes.
        directory: The bundle's directory; by default ``out/bundles/<name>``. An existing bundle is replaced,
            any other content stays untouched.
        task: The task; by default that of the estimator's type.
        positive_label: The class, of two, that precision, recall, F1 and ROC AUC are about; by default the
            second one.
        threshold: The probability of the positive label from which a row gets it, or a criterion to tune it
            by on the sample rows, as in ``train.yaml``: ``{"metric": "f1"}`` or
            ``{"costs": {"false_positive": 1, "false_negative": 5}}``. By default a row gets the model's own
            label.
        handle_unknown: Whether the server rejects or accepts a category that the sample rows do not have.
        seed: The seed of the random rows of the comparison.
        golden_rows: The largest number of golden requests.
        trusted_types: Full names of types of one's own. The server has to trust them too, by
            ``--trusted-type``.
        model_card: The owner's texts for the model card.
        on_step: Called with the name of each step when the step starts.

    Returns:
        The sealed bundle.

    Raises:
        ConfigurationError: If the model cannot be served, with the reason; or an argument is wrong.
        DataError: If the rows do not fit the model, or no contract describes them.
    """
    started = datetime.now(UTC)
    require_model_name(name)
    options = None if threshold is None else _read_threshold(threshold)
    target_dir = Path(directory) if directory is not None else Path("out/bundles") / name
    validate_output_dir(target_dir)
    if is_keras_model(model):
        classification = None if task is None else task == "classification"
        model, y = wrap_model(model, X, y, classification=classification)
    pipeline = _as_pipeline(model)
    estimator = pipeline[-1]
    kind = type(estimator).__name__
    task = task or _detect_task(estimator)
    _require_recommender(estimator, task)
    names = getattr(pipeline, "feature_names_in_", None)
    samples = read_samples(X, None if names is None else [str(column) for column in names])
    targets, target = _read_target(y, samples, task)
    on_step("saving and building")
    built = _build(pipeline, kind, Policy.trusting(trusted_types))
    on_step("evaluating")
    rows = np.arange(len(samples.features))
    served = samples.features.sklearn_rows(rows, samples.layout)
    outputs, predicted = _predict(built.pipeline, served, kind, task, samples.features, targets)
    _require_same_outputs(pipeline, samples.original, outputs, predicted)
    labels = detect_labels(built.pipeline, task, outputs[0], predicted[outputs[0].name])
    if task == "classification":
        _require_known_classes(target, labels)
        positive_label = _positive_label(positive_label, labels)
    decision = None
    if options is not None:
        try:
            decision = choose_threshold(options, kind, labels, positive_label, predicted, target)
        except FieldError as error:
            raise ConfigurationError(f"threshold: {error.problem}.") from None
    predicted = decide_labels(decision, labels, predicted)
    fitted = FittedModel(
        name,
        task,
        built.pipeline,
        samples.layout,
        outputs,
        labels,
        samples.features,
        target,
        rows,
        rows,
        predicted,
        policies={
            column: FeaturePolicy(
                handle_unknown=handle_unknown,
                categorical=task == "recommendation",
                free_text=task != "recommendation" and _is_free_text(pipeline, samples, column),
            )
            for column in samples.features.datatypes
        },
        threshold=decision,
    )
    evaluation = evaluate(Evaluator(fitted, positive_label, seed=seed), {SAMPLE: rows}, {SAMPLE: predicted})
    digest = _digest(samples.features, target)
    sealed = seal_model(
        fitted,
        built,
        evaluation,
        CardContext(
            model_card or ModelCard(),
            kind,
            _own_parameters(estimator),
            f"The model was fitted before it was bundled. {len(rows)} sample rows, SHA-256 `{digest}`, are "
            "the source of ranges, categories, golden requests and the metrics below. They may be the rows "
            "that the model was fitted on.",
            threshold=None if options is None else options.origin(SAMPLE),
        ),
        target_dir,
        data={"sha256": digest, "rows": len(rows)},
        parameters=_own_parameters(estimator),
        seed=seed,
        n_golden_rows=golden_rows,
        joblib=False,
        collect_provenance=partial(collect_provenance, Path(), started),
        on_step=on_step,
    )
    return sealed.bundle


def require_model_name(name: str) -> None:
    """Check a model's name.

    Raises:
        ConfigurationError: If it is not one, because it could not be part of a Kubernetes object's name.
    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise ConfigurationError(
            f"'{name}' is not a model's name: expected up to 52 lower-case letters, digits and dashes."
        )


def _read_threshold(value: float | Mapping[str, Any]) -> Threshold:
    try:
        return Threshold.model_validate(value)
    except ValidationError as error:
        raise ConfigurationError(
            "threshold: expected a number between 0 and 1, {metric: …} or {costs: {false_positive: …, "
            f"false_negative: …}}}}, received {value!r} ({first_problem(error)})."
        ) from None


def _as_pipeline(model: Any) -> Any:
    """Return the fitted model as a pipeline; of a search, the model that it found."""
    from sklearn.exceptions import NotFittedError
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import check_is_fitted

    if isinstance(model, type) or not hasattr(model, "fit"):
        raise ConfigurationError(
            f"The model is a {type(model).__name__}: expected a fitted estimator of scikit-learn, or one "
            "with the same interface."
        )
    try:
        check_is_fitted(model)
    except NotFittedError:
        raise ConfigurationError(
            f"The {type(model).__name__} is not fitted: call its fit method before it is bundled."
        ) from None
    model = getattr(model, "best_estimator_", model)
    pipeline = model if isinstance(model, Pipeline) else Pipeline([(ESTIMATOR, model)])
    if not hasattr(pipeline, "predict"):
        raise ConfigurationError(
            f"The {type(pipeline[-1]).__name__} has no method predict, so it cannot be served: choose an "
            "estimator that predicts for new rows."
        )
    return pipeline


def _detect_task(estimator: Any) -> Task:
    try:
        kind = estimator.__sklearn_tags__().estimator_type
    except AttributeError:  # an estimator that does not derive from scikit-learn's base class
        kind = getattr(estimator, "_estimator_type", None)
    if kind not in _TASKS:
        raise ConfigurationError(
            f"The task of {type(estimator).__name__} is unknown (estimator type {kind}): give "
            f"task=, one of {', '.join(dict.fromkeys(_TASKS.values()))}."
        )
    return _TASKS[kind]


def _require_recommender(estimator: Any, task: Task) -> None:
    """Check that an estimator of the task recommendation excludes items and knows the popular ones."""
    from tidegate.recommenders import ImplicitALS

    if task == "recommendation" and not isinstance(estimator, ImplicitALS):
        raise ConfigurationError(
            f"The {type(estimator).__name__} is not a recommender that can be bundled: fit "
            "tidegate.recommenders.ImplicitALS, or give another task."
        )


def _read_target(y: Any, samples: Samples, task: Task) -> tuple[list[str], Array | None]:
    """Return the names of the targets, and the true values in the type of the metrics."""
    if y is None:
        return [], None
    names = [str(column) for column in getattr(y, "columns", [])]
    values = np.asarray(y)
    if len(values) != len(samples.features):
        raise DataError(f"y has {len(values)} rows, and X has {len(samples.features)}: give one for each.")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if task == "regression":
        return names, values.astype(np.float64)
    if values.dtype.kind in "OU":
        return names, values.astype(str)
    return names, values.astype(np.int64)


def _build(pipeline: Any, kind: str, policy: Policy) -> ServerBuild:
    try:
        return build_as_server(pipeline, policy)
    except NotSavedError as error:
        raise ConfigurationError(
            f"The {kind} cannot be saved ({error}): remove the parameter that holds a function or an object, "
            "or choose an estimator whose state is numbers and texts."
        ) from None
    except BundleError as error:
        raise ConfigurationError(
            f"A server with the default policy rejects this {kind} ({str(error).rstrip('.')}): add the types "
            "that are your own with trusted_types=, or fit a model without them."
        ) from None


def _predict(
    pipeline: Any, rows: Any, kind: str, task: Task, features: FeatureTable, targets: list[str]
) -> tuple[tuple[Output, ...], dict[str, Array]]:
    datatype = prediction_datatype(features.datatypes.values())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's advice on fitting, and on unknown categories
            outputs = detect_outputs(pipeline, rows, task=task, datatype=datatype, targets=targets)
            return outputs, predict_outputs(pipeline, rows, outputs)
    except Exception as error:  # an estimator raises any exception for rows that it cannot take
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise DataError(
            f"The {kind} cannot predict for X ({reason}): give rows as the model was fitted on."
        ) from None


def _require_same_outputs(
    pipeline: Any, original: Any, outputs: tuple[Output, ...], served: dict[str, Array]
) -> None:
    """Check that the rows mean the same to the model in the form in which a server receives them.

    Raises:
        DataError: If an output differs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = predict_outputs(pipeline, original, outputs)
    for name, values in expected.items():
        if values.dtype.kind == "f":
            # Parameters of 32 bits are widened, which moves the last bits.
            margin = TOLERANCE * float(np.nanstd(values))
            same = np.isclose(values, served[name], rtol=TOLERANCE, atol=margin, equal_nan=True)
        else:
            same = np.asarray(values == served[name])
        if not same.all():
            row = int(np.argmin(same.reshape(len(values), -1).all(axis=1)))
            raise DataError(
                f"X: the model computes another {name} for row {row + 1} when the row arrives in a request, "
                "where a missing text is '' and a category is a plain text: convert the columns in this way, "
                "and fit again."
            )


def _require_known_classes(target: Array | None, labels: tuple[int | str, ...]) -> None:
    """Check that the true classes are classes of the model.

    Raises:
        DataError: If one is not.
    """
    if target is None or not labels:
        return
    is_known = np.isin(target.astype(str), [str(label) for label in labels])
    if not is_known.all():
        row = int(np.argmin(is_known))
        raise DataError(
            f"y has the class {target[row].item()!r} in row {row + 1}: expected one of the model's classes, "
            f"{', '.join(map(repr, labels[:10]))}; give the classes as the model has them."
        )


def _positive_label(label: int | str | None, labels: tuple[int | str, ...]) -> int | str | None:
    """Return the positive class of two; a text, such as ``"1"``, names an integer too."""
    if label is None:
        default: int | str | None = choose_positive_label(None, labels)
        return default
    if len(labels) != 2 or str(label) not in map(str, labels):
        raise ConfigurationError(
            f"positive_label: expected one of two classes, received {label!r}, and the model has "
            f"{', '.join(map(repr, labels[:10])) or 'several targets'}."
        )
    return next(known for known in labels if str(known) == str(label))


def _is_free_text(pipeline: Any, samples: Samples, column: str) -> bool:
    """Return whether a column has texts of any content and not categories.

    A vectorizer takes texts as an array ``[rows]``, so a list of texts is free text, and so is a column that
    a ``ColumnTransformer`` selects by its name alone, not by a list. So are texts too many for categories.
    """
    if samples.features.datatypes[column] is not Datatype.BYTES:
        return False
    selected = [columns for _, _, columns in getattr(pipeline[0], "transformers_", [])]
    distinct = len(set(samples.features.columns[column].tolist()))
    return samples.layout == "texts" or column in selected or distinct > MAX_CATEGORIES


def _own_parameters(estimator: Any) -> dict[str, Any]:
    """Return the parameters that differ from their defaults and that JSON holds."""
    try:
        defaults = type(estimator)().get_params(deep=False)
    except TypeError:  # a parameter without a default, such as the inner estimator of an ensemble
        defaults = {}
    return {
        key: value
        for key, value in estimator.get_params(deep=False).items()
        if isinstance(value, bool | int | float | str) and value != defaults.get(key) and value == value
    }


def _digest(features: FeatureTable, target: Array | None) -> str:
    """Return the SHA-256 of the sample rows: names, types and values."""
    parts: list[bytes] = []
    for name, column in features.columns.items():
        parts.append(f"{name}\0{features.datatypes[name]}\0".encode())
        parts.append("\0".join(column.tolist()).encode() if column.dtype == object else column.tobytes())
    if target is not None:
        parts.append("\0".join(map(str, target.ravel().tolist())).encode())
    return sha256(b"\0".join(parts))

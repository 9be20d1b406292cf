# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""From a fitted pipeline to a model: its outputs, its labels and its decision threshold.

Nothing is fitted here. A training run and each fold of a cross-validation make their models in this way.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import DecisionThreshold
from tidegate.outputs import decide_labels
from tidegate_training.bundling.features import FeaturePolicy, Indices
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.bundling.outputs import (
    detect_labels,
    detect_outputs,
    predict_outputs,
    prediction_datatype,
)
from tidegate_training.config import FeatureOptions, TrainingConfig
from tidegate_training.data.table import Table
from tidegate_training.decision import choose_threshold
from tidegate_training.evaluation.metrics import choose_positive_label

Array = NDArray[Any]
Predictions = dict[str, dict[str, Array]]
"""By split and output, the model's outputs, ``[rows]`` or ``[rows, width]``."""


def build_model(
    config: TrainingConfig,
    table: Table,
    pipeline: Any,
    splits: Mapping[str, Indices],
    threshold: DecisionThreshold | None = None,
) -> tuple[FittedModel, Predictions]:
    """Return a model, and its outputs for the rows of each split.

    Args:
        config: The configuration.
        table: The data.
        pipeline: The pipeline, fitted on the rows of the split ``train``.
        splits: The numbers of the rows by split, ``[split_rows]``: ``train``, ``test``, and ``validation`` if
            a decision threshold is tuned on these rows.
        threshold: The decision threshold; by default that of the configuration.
    """
    features = table.features
    outputs = detect_outputs(
        pipeline,
        features.sklearn_rows(splits["train"][:1], features.layout),
        task=config.task,
        datatype=prediction_datatype(features.datatypes.values()),
    )
    predicted = {
        name: predict_outputs(pipeline, features.sklearn_rows(rows, features.layout), outputs)
        for name, rows in splits.items()
    }
    prediction = outputs[0]
    labels = detect_labels(
        pipeline,
        config.task,
        prediction,
        np.concatenate([values[prediction.name] for values in predicted.values()]),
    )
    if threshold is None and config.threshold is not None:
        assert table.target is not None  # it is a classification
        threshold = choose_threshold(
            config.threshold,
            config.algorithm.name,
            labels,
            choose_positive_label(config.positive_label, labels),
            predicted["validation"],
            table.target[splits["validation"]],
            table.weights_of(splits["validation"]),
        )
    predicted = {name: decide_labels(threshold, labels, values) for name, values in predicted.items()}
    held_out = [values for name, values in predicted.items() if name != "train"]
    model = FittedModel(
        config.name,
        config.task,
        pipeline,
        features.layout,
        outputs,
        labels,
        features,
        table.target,
        splits["train"],
        splits["test"],
        held_out_outputs={
            name: np.concatenate([values[name] for values in held_out]) for name in held_out[0]
        },
        policies={name: _feature_policy(config, name) for name in features.datatypes},
        threshold=threshold,
        weights=table.weights,
    )
    return model, predicted


def _feature_policy(config: TrainingConfig, name: str) -> FeaturePolicy:
    options = config.features.overrides.get(name, FeatureOptions())
    is_user = config.task == "recommendation"
    return FeaturePolicy(
        handle_unknown=options.handle_unknown or ("accept" if is_user else "reject"),
        sensitivity=options.sensitivity or config.features.sensitivity,
        categorical=options.categorical or is_user,
        free_text=options.free_text,
        format=options.format,
        order=None if options.order is None else tuple(options.order),
    )

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-validation: the pipeline is fitted anew for each fold of the training and validation rows.

It shows how much the metrics depend on the split. No test row is used, and the bundled model stays that of
the training rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import DecisionThreshold
from tidegate.errors import DataError
from tidegate_training.bundling.features import Indices
from tidegate_training.config import TrainingConfig
from tidegate_training.data.split import Splits
from tidegate_training.data.table import Table
from tidegate_training.evaluation.estimates import Evaluator
from tidegate_training.evaluation.folds import CrossValidation, Fold, make_folds, summarize_folds
from tidegate_training.evaluation.metrics import Metrics, choose_positive_label
from tidegate_training.modelling import build_model
from tidegate_training.pipeline import fit_pipeline


def cross_validate(
    config: TrainingConfig,
    table: Table,
    splits: Splits,
    threshold: DecisionThreshold | None,
    costs: NDArray[Any] | None,
) -> CrossValidation:
    """Cross-validate the pipeline on the training and validation rows.

    Args:
        config: The configuration.
        table: The data.
        splits: The split.
        threshold: The model's decision threshold, which each fold applies.
        costs: ``[classes, classes]``, the cost of a row by its true and its predicted class.

    Raises:
        DataError: If the rows are too few for the folds.
    """
    assert config.evaluation.cross_validation is not None  # the caller's condition
    folds = make_table_folds(config, table, splits, config.evaluation.cross_validation)
    metrics = [evaluate_fold(config, table, fold, threshold, costs)[1] for fold in folds]
    return summarize_folds(metrics, [(len(train), len(held_out)) for train, held_out in folds])


def make_table_folds(
    config: TrainingConfig,
    table: Table,
    splits: Splits,
    n_folds: int,
    option: str = "evaluation.cross_validation",
) -> list[Fold]:
    """Divide the training and validation rows into folds, as the split divides the data.

    Args:
        config: The configuration.
        table: The data.
        splits: The split.
        n_folds: The number of folds.
        option: The field with the number of folds, for errors.

    Raises:
        DataError: If the rows are too few for the folds.
    """
    rows = np.sort(np.concatenate([splits.train, splits.validation]))
    return divide_rows(config, table, rows, n_folds, option)


def divide_rows(config: TrainingConfig, table: Table, rows: Indices, n_folds: int, option: str) -> list[Fold]:
    """Divide rows into folds, as the split divides the data.

    Args:
        config: The configuration.
        table: The data.
        rows: The numbers of the rows, ``[rows]``.
        n_folds: The number of folds.
        option: The field with the number of folds, for errors.

    Raises:
        DataError: If the rows are too few for the folds.
    """
    classes = table.target if config.task == "classification" else None
    folds = make_folds(
        rows,
        n_folds,
        config.seed,
        labels=classes,
        groups=table.groups,
        times=table.times,
        option=option,
    )
    if classes is not None:
        for number, (train, _) in enumerate(folds, start=1):
            missing = np.setdiff1d(classes, classes[train])
            if len(missing):
                raise DataError(
                    f"Fold {number} has no row of the class '{missing[0]}' to fit on: set another number "
                    f"of folds in {option}, or give more data."
                )
    return folds


def evaluate_fold(
    config: TrainingConfig,
    table: Table,
    fold: Fold,
    threshold: DecisionThreshold | None,
    costs: NDArray[Any] | None = None,
) -> tuple[Metrics, Metrics]:
    """Fit a pipeline on the rows of a fold, and return the metrics of these rows and of the held-out rows.

    Args:
        config: The configuration.
        table: The data.
        fold: The numbers of the rows.
        threshold: The decision threshold; None for the label of the pipeline.
        costs: ``[classes, classes]``, the cost of a row by its true and its predicted class.
    """
    train, held_out = fold
    pipeline, _ = fit_pipeline(config, table, train)
    model, predicted = build_model(
        config.model_copy(update={"threshold": None}),
        table,
        pipeline,
        {"train": train, "test": held_out},
        threshold,
    )
    evaluator = Evaluator(model, choose_positive_label(config.positive_label, model.labels), costs=costs)
    return (
        evaluator.compute_metrics(train, predicted["train"]),
        evaluator.compute_metrics(held_out, predicted["test"]),
    )

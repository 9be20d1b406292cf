# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Nested cross-validation: one search on all training rows, and one on those of each outer fold.

The first finds the algorithm of the model. The others evaluate the search, on rows that they did not see. No
row of the splits for validation and test is used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import DataError
from tidegate_training.bundling.features import Indices
from tidegate_training.config import TrainingConfig
from tidegate_training.cross_validation import divide_rows, evaluate_fold
from tidegate_training.data.split import Splits
from tidegate_training.data.table import Table
from tidegate_training.evaluation.folds import Fold, summarize_folds
from tidegate_training.evaluation.leaderboard import SearchResult, Trial, best_trial
from tidegate_training.evaluation.overfitting import COMPARED_METRICS
from tidegate_training.search.storage import TrialStorage
from tidegate_training.search.study import Problem, Study, configure, run_shard


def search_algorithm(
    config: TrainingConfig,
    table: Table,
    splits: Splits,
    costs: NDArray[Any] | None,
    *,
    storage: TrialStorage,
    jobs: int,
    on_step: Callable[[str], None],
) -> SearchResult:
    """Run the searches of a configuration as far as they are not finished, and return the result.

    Args:
        config: The configuration.
        table: The data.
        splits: The split.
        costs: ``[classes, classes]``, the cost of a row by its true and its predicted class.
        storage: The storage of the finished trials.
        jobs: The number of processes.
        on_step: Called with the name of each step when the step starts.

    Raises:
        DataError: If the rows are too few for the folds, or no trial of a search is complete.
        FieldError: If an estimator rejects the value of a parameter in every circumstance.
        StoreError: If the store is unreachable or fails.
    """
    assert config.search is not None  # the caller's condition
    metric = config.search.metric or COMPARED_METRICS[config.task]
    problem = Problem(config, table, metric, costs, storage)
    studies = make_studies(config, table, splits.train)
    run_studies(problem, studies.all, jobs, on_step)
    on_step("evaluating the search")
    return evaluate_search(problem, studies)


@dataclass(frozen=True, slots=True)
class NestedStudies:
    """The searches of a run.

    Attributes:
        final: The search on all training rows.
        outer: By outer fold, its rows and the search on those that it is fitted on.
    """

    final: Study
    outer: tuple[tuple[Fold, Study], ...]

    @property
    def all(self) -> list[Study]:
        """All searches, the one on all training rows first."""
        return [self.final, *(study for _, study in self.outer)]


def make_studies(config: TrainingConfig, table: Table, rows: Indices) -> NestedStudies:
    """Divide the training rows into outer folds, and the rows of each search into inner folds.

    Args:
        config: The configuration.
        table: The data.
        rows: The numbers of the training rows, ``[training_rows]``.

    Raises:
        DataError: If the rows are too few for the folds.
    """
    assert config.search is not None  # the caller's condition
    folds = config.search.folds

    def study(name: str, rows: Indices, index: int) -> Study:
        inner = divide_rows(config, table, rows, folds.inner, "search.folds.inner")
        return Study(name, inner, (config.seed, index))

    outer = divide_rows(config, table, rows, folds.outer, "search.folds.outer")
    return NestedStudies(
        study("all", rows, 0),
        tuple((fold, study(f"outer-{index}", fold[0], index)) for index, fold in enumerate(outer, start=1)),
    )


def run_studies(problem: Problem, studies: list[Study], jobs: int, on_step: Callable[[str], None]) -> None:
    """Run the shards of searches, several at the same time.

    Args:
        problem: The facts that all trials share.
        studies: The searches.
        jobs: The number of processes.
        on_step: Called with the number of finished shards of searches.
    """
    from joblib import Parallel, delayed

    tasks = [(study, shard) for study in studies for shard in range(problem.options.shards)]
    on_step(f"searching: {len(studies)} searches of {problem.options.trials} trials")
    running = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(run_shard)(problem, study, shard) for study, shard in tasks
    )
    for done, _ in enumerate(running, start=1):
        on_step(f"searching: {done} of {len(tasks)} done")


def evaluate_search(problem: Problem, studies: NestedStudies) -> SearchResult:
    """Return the result of searches whose trials are finished, after one fit per outer fold.

    Raises:
        DataError: If no trial of a search is complete.
    """
    trials = [problem.storage.read(study.name) for study in studies.all]
    # An earlier run with the same storage may have had more trials.
    limited = [[trial for trial in own if trial.number < problem.options.trials] for own in trials]
    winners = [_winner(own, problem.metric) for own in limited]
    folds = [fold for fold, _ in studies.outer]
    metrics = [
        evaluate_fold(configure(problem.config, winner), problem.table, fold, None, problem.costs)[1]
        for fold, winner in zip(folds, winners[1:], strict=True)
    ]
    return SearchResult(
        problem.metric,
        tuple(limited[0]),
        float(np.mean([len(held_out) / len(train) for train, held_out in studies.final.folds])),
        summarize_folds(metrics, [(len(train), len(held_out)) for train, held_out in folds]),
        tuple(winners[1:]),
        len(folds) + sum(len(trial.scores) for own in limited for trial in own),
    )


def _winner(trials: list[Trial], metric: str) -> Trial:
    winner = best_trial(trials, metric)
    if winner is None:
        reasons = "; ".join(dict.fromkeys(trial.reason for trial in trials))
        raise DataError(f"No trial of the search is complete: {reasons}")
    return winner

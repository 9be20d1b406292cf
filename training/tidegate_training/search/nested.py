# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Nested cross-validation: one search on all training rows, and one on those of each outer fold.

The first finds the algorithm of the model. The others evaluate the search, on rows that they did not see. No
row of the splits for validation and test is used.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tidegate.errors import DataError
from tidegate_training.bundling.features import Indices
from tidegate_training.config import TrainingConfig
from tidegate_training.cross_validation import divide_rows, evaluate_fold
from tidegate_training.data.table import Table
from tidegate_training.evaluation.folds import Fold, summarize_folds
from tidegate_training.evaluation.leaderboard import SearchResult, Trial, best_trial
from tidegate_training.search.study import Problem, Study, configure, remaining_numbers, run_shard
from tidegate_training.search.workers import Workers

_POLL_SECONDS = 5.0


def search_algorithm(
    problem: Problem,
    rows: Indices,
    *,
    workers: Workers,
    wait: bool,
    on_step: Callable[[str], None],
) -> SearchResult:
    """Run the searches of a configuration as far as they are not finished, and return the result.

    Args:
        problem: The facts that all trials share.
        rows: The numbers of the training rows, ``[training_rows]``.
        workers: The workers.
        wait: Whether other processes run the shards, so that only the result is computed here.
        on_step: Called with the name of each step when the step starts.

    Raises:
        DataError: If the rows are too few for the folds, or no trial of a search is complete.
        FieldError: If an estimator rejects the value of a parameter in every circumstance.
        StoreError: If the store is unreachable or fails.
    """
    studies = make_studies(problem.config, problem.table, rows)
    if wait:
        wait_for_shards(problem, studies, on_step)
    else:
        run_shards(problem, studies, range(problem.options.shards), workers, on_step)
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


def run_shards(
    problem: Problem,
    studies: NestedStudies,
    shards: Iterable[int],
    workers: Workers,
    on_step: Callable[[str], None],
) -> int:
    """Run shards of all searches, several at the same time, and return the number of trials that were run.

    Args:
        problem: The facts that all trials share.
        studies: The searches.
        shards: The numbers of the shards.
        workers: The workers.
        on_step: Called with the number of finished shards.
    """
    from joblib import Parallel, delayed

    tasks = [(study, shard) for study in studies.all for shard in shards]
    on_step(f"searching: {len(studies.all)} searches of {problem.options.trials} trials")
    n_trials = 0
    with workers.connected():
        running = Parallel(return_as="generator_unordered")(
            delayed(run_shard)(problem, study, shard) for study, shard in tasks
        )
        for done, ran in enumerate(running, start=1):
            n_trials += ran
            on_step(f"searching: {done} of {len(tasks)} done")
    return n_trials


def wait_for_shards(
    problem: Problem,
    studies: NestedStudies,
    on_step: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the trials of all shards are finished, wherever they run.

    Args:
        problem: The facts that all trials share.
        studies: The searches.
        on_step: Called with the number of shards that are not finished.
        sleep: Waits for some seconds.
    """
    shards, pending = range(problem.options.shards), studies.all
    known: dict[str, list[Trial]] = {}
    while pending := [study for study in pending if _remaining(problem, study, shards, known)]:
        on_step(f"waiting: for the shards of {len(pending)} searches")
        sleep(_POLL_SECONDS)


def _remaining(problem: Problem, study: Study, shards: Iterable[int], known: dict[str, list[Trial]]) -> bool:
    finished = known[study.name] = problem.storage.read(study.name, known.get(study.name, ()))
    return any(remaining_numbers(problem.options, finished, shard) for shard in shards)


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
        reasons = "; ".join(dict.fromkeys(trial.reason for trial in trials)) or (
            "--trials has none, so the workers write elsewhere: give a store that all of them reach."
        )
        raise DataError(f"No trial of the search is complete: {reasons}")
    return winner

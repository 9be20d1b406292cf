# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""One search, on all training rows or on those of an outer fold: its trials, one after another per shard.

A trial sees the rows of its study alone.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tidegate.errors import DataError, FieldError
from tidegate_training.config import Algorithm, TrainingConfig
from tidegate_training.cross_validation import evaluate_fold
from tidegate_training.data.table import Table
from tidegate_training.evaluation.folds import Fold
from tidegate_training.evaluation.leaderboard import State, Trial
from tidegate_training.search.sampling import Proposal, propose
from tidegate_training.search.storage import TrialStorage
from tidegate_training.search_options import SearchOptions

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Study:
    """A search on some rows.

    Attributes:
        name: The name, which is also the folder of its trials.
        folds: The inner folds, which score the trials.
        seed: The numbers that seed the draws, different for each study.
    """

    name: str
    folds: Sequence[Fold]
    seed: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Problem:
    """The facts that all trials of a run share. It can be sent to another process.

    Attributes:
        config: The configuration.
        table: The data.
        metric: The metric to optimize.
        costs: ``[classes, classes]``, the cost of a row by its true and its predicted class.
        storage: The storage of the finished trials.
    """

    config: TrainingConfig
    table: Table
    metric: str
    costs: NDArray[Any] | None
    storage: TrialStorage

    @property
    def options(self) -> SearchOptions:
        """The section ``search`` of the configuration."""
        assert self.config.search is not None  # the condition of a search
        return self.config.search


def configure(config: TrainingConfig, trial: Trial | Proposal) -> TrainingConfig:
    """Return the configuration with the algorithm, the parameters and the preprocessing of a trial.

    Raises:
        FieldError: If options of the preprocessing do not fit each other.
    """
    try:
        preprocessing = config.preprocessing.with_options(trial.preprocessing)
    except FieldError as error:
        raise FieldError(("search", "preprocessing"), error.problem) from None
    algorithm = Algorithm(name=trial.algorithm, parameters=trial.parameters)
    return config.model_copy(update={"algorithm": algorithm, "preprocessing": preprocessing})


def remaining_numbers(options: SearchOptions, finished: Sequence[Trial], shard: int) -> list[int]:
    """Return the numbers of the trials that a shard still has to run; none after its minutes are over.

    Args:
        options: The section ``search``.
        finished: The finished trials of the study.
        shard: The number of the shard, from 0.
    """
    own = {trial.number: trial.seconds for trial in _of_shard(options, finished, shard)}
    if options.minutes is not None and sum(own.values()) >= 60 * options.minutes:
        return []
    return [number for number in range(shard, options.trials, options.shards) if number not in own]


def run_shard(problem: Problem, study: Study, shard: int, clock: Clock = time.perf_counter) -> int:
    """Run the trials of a shard that are not finished, store each of them, and return their number.

    Args:
        problem: The facts that all trials share.
        study: The search.
        shard: The number of the shard, from 0.
        clock: A clock in seconds.

    Raises:
        FieldError: If an estimator rejects the value of a parameter in every circumstance.
        StoreError: If the store is unreachable or fails.
    """
    from threadpoolctl import threadpool_limits

    finished = _of_shard(problem.options, problem.storage.read(study.name), shard)
    n_before = len(finished)
    # On several threads the order of a sum varies, and with it the last bits of a score.
    with threadpool_limits(limits=1):
        while remaining := remaining_numbers(problem.options, finished, shard):
            proposal = propose(problem.config, problem.metric, finished, remaining[0], study.seed)
            trial = run_trial(problem, study, proposal, clock)
            problem.storage.write(study.name, trial)
            finished.append(trial)
    return len(finished) - n_before


def run_trial(problem: Problem, study: Study, proposal: Proposal, clock: Clock) -> Trial:
    """Fit a proposal on each fold, unless it is pruned before.

    A proposal that cannot be fitted is a failed trial, because the values of a space need not fit each other.

    Args:
        problem: The facts that all trials share.
        study: The search.
        proposal: The proposal.
        clock: A clock in seconds.

    Raises:
        FieldError: If an estimator rejects the value of a parameter in every circumstance.
    """
    started, scores = clock(), list[float]()
    state: State = "complete"
    reason = ""
    try:
        config = configure(problem.config, proposal)
        for fold in study.folds:
            _, metrics = evaluate_fold(config, problem.table, fold, None, problem.costs)
            if (score := metrics.get(problem.metric)) is None:
                raise DataError(f"The metric {problem.metric} is not defined on an inner fold.")
            scores.append(score)
            if len(scores) < len(study.folds) and proposal.should_prune(scores):
                state = "pruned"
                break
    except FieldError as error:
        # Drawn options of the preprocessing need not fit each other, or the algorithm.
        if not proposal.preprocessing or "preprocessing" not in error.location[:2]:
            raise _located(error, problem.options, proposal) from None
        state, reason = "failed", str(error)
    except (DataError, ValueError) as error:  # a ValueError in the prediction of neighbors
        state, reason = "failed", " ".join(str(error).split())
    return Trial(
        proposal.number,
        proposal.algorithm,
        proposal.parameters,
        proposal.preprocessing,
        tuple(scores),
        state,
        round(clock() - started, 3),
        reason,
    )


def _of_shard(options: SearchOptions, trials: Sequence[Trial], shard: int) -> list[Trial]:
    return [trial for trial in trials if trial.number % options.shards == shard]


def _located(error: FieldError, options: SearchOptions, proposal: Proposal) -> FieldError:
    """Return an error of a parameter with its place in the section ``search``."""
    if proposal.number == 0 or error.location[:2] != ("algorithm", "parameters"):
        return error
    index = [candidate.name for candidate in options.algorithms].index(proposal.algorithm)
    place: tuple[int | str, ...] = ("search", "algorithms", index)
    if parameter := error.location[2:3]:
        place += ("space" if parameter[0] in options.algorithms[index].space else "parameters", *parameter)
    return FieldError(place, error.problem)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Optuna: the parameters of the next trial by TPE, and the pruning of a trial by the median.

Both are functions of the finished trials and of a seed. A study in memory is built for each trial, so a
search that continues after a stop draws the same parameters as one that was not stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import JsonValue

from tidegate.errors import FieldError
from tidegate_training.config import TrainingConfig
from tidegate_training.evaluation.leaderboard import Trial
from tidegate_training.gates import ERROR_METRICS
from tidegate_training.search_options import CategoricalSpace, IntSpace, SearchOptions, Space

_ALGORITHM = "algorithm"
_PREPROCESSING = "preprocessing"


def require_optuna() -> None:
    """Check that Optuna is installed.

    Raises:
        FieldError: If it is not.
    """
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise FieldError(
            ("search",), "needs the package optuna, which is not installed: install tidegate[training,search]"
        ) from None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A trial that has not run: the algorithm, its parameters, and the options of the preprocessing."""

    number: int
    algorithm: str
    parameters: dict[str, JsonValue]
    preprocessing: dict[str, JsonValue]
    _trial: Any = None

    def should_prune(self, scores: Sequence[float]) -> bool:
        """Return whether the mean of the scores so far is below the median of the finished trials."""
        if self._trial is None:
            return False
        self._trial.report(float(np.mean(scores)), len(scores) - 1)
        return bool(self._trial.should_prune())


def propose(
    config: TrainingConfig, metric: str, finished: Sequence[Trial], number: int, seed: Sequence[int]
) -> Proposal:
    """Return the next trial of a study: the configured algorithm first, then what TPE draws.

    Args:
        config: The configuration.
        metric: The metric to optimize.
        finished: The finished trials that the sampler learns from.
        number: The number of the trial.
        seed: The numbers that, with the trial's own, seed the sampler.
    """
    import optuna

    options = config.search
    assert options is not None  # the caller's condition
    if number == 0:
        return Proposal(number, config.algorithm.name, dict(config.algorithm.parameters), {})
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would report each study in memory
    state = np.random.SeedSequence([*seed, number]).generate_state(1)
    study = optuna.create_study(
        direction="minimize" if metric in ERROR_METRICS else "maximize",
        sampler=optuna.samplers.TPESampler(seed=int(state[0])),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.add_trials([_frozen(options, trial) for trial in finished])
    trial = study.ask()
    names = [candidate.name for candidate in options.algorithms]
    name = trial.suggest_categorical(_ALGORITHM, names)
    candidate = options.algorithms[names.index(name)]

    parameters = {key: _suggest(trial, f"{name}.{key}", space) for key, space in candidate.space.items()}
    preprocessing = {
        key: _suggest(trial, f"{_PREPROCESSING}.{key}", space) for key, space in options.preprocessing.items()
    }
    return Proposal(number, name, {**candidate.parameters, **parameters}, preprocessing, trial)


def _suggest(trial: Any, name: str, space: Space) -> JsonValue:
    """Draw a value of a space."""
    if isinstance(space, CategoricalSpace):
        value: JsonValue = json.loads(trial.suggest_categorical(name, _choices(space)))
        return value
    if isinstance(space, IntSpace):
        return int(trial.suggest_int(name, space.low, space.high, log=space.log))
    return float(trial.suggest_float(name, space.low, space.high, log=space.log))


def _choices(space: CategoricalSpace) -> list[str]:
    """Return the choices as JSON, because Optuna's choices are scalars."""
    return [json.dumps(choice, sort_keys=True) for choice in space.choices]


def _frozen(options: SearchOptions, trial: Trial) -> Any:
    """Return a finished trial as Optuna has it; the configured algorithm is in no space."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    values: dict[str, Any] = {}
    distributions: dict[str, Any] = {}

    def add(name: str, space: Space, value: JsonValue) -> None:
        values[name] = value
        if isinstance(space, CategoricalSpace):
            values[name] = json.dumps(value, sort_keys=True)
            distributions[name] = CategoricalDistribution(_choices(space))
        elif isinstance(space, IntSpace):
            distributions[name] = IntDistribution(space.low, space.high, log=space.log)
        else:
            distributions[name] = FloatDistribution(space.low, space.high, log=space.log)

    if trial.number > 0:
        candidates = {candidate.name: candidate for candidate in options.algorithms}
        values[_ALGORITHM] = trial.algorithm
        distributions[_ALGORITHM] = CategoricalDistribution(list(candidates))
        for key, space in candidates[trial.algorithm].space.items():
            add(f"{trial.algorithm}.{key}", space, trial.parameters[key])
        for key, space in options.preprocessing.items():
            add(f"{_PREPROCESSING}.{key}", space, trial.preprocessing[key])
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    return create_trial(
        state=states[trial.state],
        value=trial.mean if trial.state == "complete" else None,
        params=values,
        distributions=distributions,
        intermediate_values={
            step: float(np.mean(trial.scores[: step + 1])) for step in range(len(trial.scores))
        },
    )

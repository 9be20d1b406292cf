# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.support.searches import SPACES, SPLITS, problem, table, trial
from tidegate.errors import FieldError
from tidegate_training.search.nested import make_studies
from tidegate_training.search.sampling import Proposal
from tidegate_training.search.study import Problem, Study, configure, remaining_numbers, run_shard, run_trial


def study_of(problem: Problem) -> Study:
    return make_studies(problem.config, table(), SPLITS.train).final


def test_run_shard_runs_the_configured_algorithm_first(tmp_path: Path) -> None:
    own = problem(tmp_path)
    ticks = count()
    run_shard(own, study_of(own), 0, lambda: float(next(ticks)))
    trials = own.storage.read("all")
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert (trials[0].algorithm, trials[0].preprocessing) == ("GaussianNB", {})
    assert {trial.seconds for trial in trials} == {1.0}
    assert all(len(trial.scores) == 2 and min(trial.scores) > 0.5 for trial in trials)


def test_run_shard_that_continues_runs_the_same_trials(tmp_path: Path) -> None:
    whole, halves = problem(tmp_path / "whole"), problem(tmp_path / "halves", trials=2)
    run_shard(whole, study_of(whole), 0, lambda: 0.0)
    run_shard(halves, study_of(halves), 0, lambda: 0.0)
    assert len(halves.storage.read("all")) == 2
    again = problem(tmp_path / "halves")
    run_shard(again, study_of(again), 0, lambda: 0.0)
    assert again.storage.read("all") == whole.storage.read("all")


def test_remaining_numbers_are_those_of_the_shard() -> None:
    options = problem(Path(), trials=7, shards=3).options
    assert remaining_numbers(options, [], 0) == [0, 3, 6]
    assert remaining_numbers(options, [trial(0), trial(1)], 0) == [3, 6]
    assert remaining_numbers(options, [trial(0), trial(1)], 2) == [2, 5]


def test_remaining_numbers_after_the_minutes_are_none() -> None:
    options = problem(Path(), minutes=0.5).options
    assert remaining_numbers(options, [trial(0, seconds=29)], 0) == [1, 2, 3]
    assert remaining_numbers(options, [trial(0, seconds=29), trial(1, seconds=1)], 0) == []


def test_run_trial_that_cannot_be_fitted_fails_with_the_reason(tmp_path: Path) -> None:
    own = problem(tmp_path)
    proposal = Proposal(5, "KNeighborsClassifier", {"n_neighbors": 70}, {})
    failed = run_trial(own, study_of(own), proposal, lambda: 0.0)
    assert (failed.state, failed.scores) == ("failed", ())
    assert "n_neighbors" in failed.reason


def test_run_trial_whose_options_do_not_fit_each_other_fails(tmp_path: Path) -> None:
    own = problem(tmp_path)
    drawn: dict[str, JsonValue] = {"text.vectorizer": "hashing", "text.min_df": 3}
    failed = run_trial(own, study_of(own), Proposal(1, "GaussianNB", {}, drawn), lambda: 0.0)
    assert failed.state == "failed"
    assert "min_df" in failed.reason


def test_run_trial_without_the_metric_fails(tmp_path: Path) -> None:
    own = replace(problem(tmp_path), metric="pinball")
    failed = run_trial(own, study_of(own), Proposal(0, "GaussianNB", {}, {}), lambda: 0.0)
    assert (failed.state, failed.reason) == ("failed", "The metric pinball is not defined on an inner fold.")


def test_run_trial_with_a_wrong_value_names_its_space(tmp_path: Path) -> None:
    algorithms = [{"name": "KNeighborsClassifier", "space": {"p": {"type": "float", "low": -2, "high": -1}}}]
    own = problem(tmp_path, algorithms=algorithms)
    with pytest.raises(FieldError, match=r"search\.algorithms\.0\.space\.p") as caught:
        run_trial(own, study_of(own), Proposal(1, "KNeighborsClassifier", {"p": -1.0}, {}), lambda: 0.0)
    assert "'p' parameter" in str(caught.value)


def test_run_trial_is_pruned_between_folds(tmp_path: Path) -> None:
    class Pruned(Proposal):
        __slots__ = ()

        def should_prune(self, scores: object) -> bool:
            return True

    own = problem(tmp_path)
    pruned = run_trial(own, study_of(own), Pruned(1, "GaussianNB", {}, {}), lambda: 0.0)
    assert (pruned.state, len(pruned.scores)) == ("pruned", 1)


def test_configure_keeps_the_other_options(tmp_path: Path) -> None:
    config = problem(tmp_path, preprocessing=SPACES["preprocessing"]).config
    found = configure(config, trial(3, 0.5))
    assert (found.algorithm.name, found.algorithm.parameters) == ("KNeighborsClassifier", {"n_neighbors": 4})
    assert found.preprocessing.numeric.scale == "none"
    assert found.data == config.data

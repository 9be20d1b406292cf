# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from pydantic import TypeAdapter

from tests.support.searches import trial
from tidegate_training.evaluation.folds import summarize_folds
from tidegate_training.evaluation.leaderboard import SearchResult, best_trial, rank_trials

CONFIGURED = trial(0, 0.8, 0.8, algorithm="GaussianNB", parameters={}, preprocessing={})
WINNER = trial(3, 0.9, 0.96, parameters={"p": 1.23456789})
TRIALS = (CONFIGURED, trial(1, 0.99, state="pruned"), trial(2, state="failed", reason="no rows"), WINNER)
RESULT = SearchResult(
    "roc_auc",
    TRIALS,
    0.5,
    summarize_folds([{"roc_auc": 0.8}, {"roc_auc": 0.9}], [(40, 20), (40, 20)]),
    (WINNER, CONFIGURED),
    14,
)


def test_rank_trials_has_complete_trials_first() -> None:
    assert [own.number for own in rank_trials(TRIALS, "roc_auc")] == [3, 0, 1, 2]
    assert [own.number for own in rank_trials(TRIALS, "rmse")] == [0, 3, 1, 2]


def test_best_trial_of_equal_ones_is_the_first() -> None:
    assert best_trial([trial(5, 0.5), trial(4, 0.5)], "f1") == trial(4, 0.5)
    assert best_trial(TRIALS[1:3], "f1") is None


def test_search_result_has_both_figures_in_words() -> None:
    winner, estimate, chosen, configured = RESULT.findings
    assert "4 trials (2 complete, 1 pruned, 1 failed)" in winner
    assert "KNeighborsClassifier(p=1.235, numeric.scale='none'): roc_auc is 0.93" in winner
    assert "optimistic" in winner
    assert "estimate of the whole search is roc_auc 0.85 (95 % interval" in estimate
    assert "KNeighborsClassifier (1), GaussianNB (1)" in chosen
    assert "14 pipelines" in chosen
    assert "GaussianNB(), has roc_auc 0.8 " in configured


def test_search_result_is_the_same_after_json() -> None:
    document = json.loads(json.dumps(RESULT.to_json(seconds=True)))
    assert document["trials"][0]["spread"] == pytest.approx(0.0424, abs=1e-4)
    parsed = TypeAdapter(SearchResult).validate_python(document)
    assert parsed.to_json(seconds=True) == RESULT.to_json(seconds=True)
    assert (parsed.findings, parsed.leaderboard) == (RESULT.findings, RESULT.leaderboard)
    assert "seconds" not in RESULT.to_json()["trials"][0]

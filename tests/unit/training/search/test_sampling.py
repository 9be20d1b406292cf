# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import builtins
from typing import Any

import pytest

from tests.support.searches import search_configuration, trial
from tidegate.errors import FieldError
from tidegate_training.evaluation.leaderboard import Trial
from tidegate_training.search.sampling import Proposal, propose, require_optuna

CONFIG = search_configuration()


def proposal(finished: list[Trial], number: int, seed: int = 0) -> Proposal:
    return propose(CONFIG, "roc_auc", finished, number, (seed, 0))


def drawn(proposal: Proposal) -> tuple[Any, ...]:
    return proposal.algorithm, proposal.parameters, proposal.preprocessing


def as_trial(proposal: Proposal, *scores: float) -> Trial:
    return trial(
        proposal.number,
        *scores,
        algorithm=proposal.algorithm,
        parameters=proposal.parameters,
        preprocessing=proposal.preprocessing,
    )


def test_propose_draws_values_of_the_spaces() -> None:
    proposals = [proposal([], number) for number in range(1, 40)]
    assert {found.algorithm for found in proposals} == {"LogisticRegression", "KNeighborsClassifier"}
    for found in proposals:
        assert found.preprocessing["numeric.scale"] in ("none", "standard")
        if found.algorithm == "KNeighborsClassifier":
            assert found.parameters["n_neighbors"] in range(1, 10)
        else:
            assert set(found.parameters) == {"max_iter", "C", "class_weight"}
            assert 0.001 <= found.parameters["C"] <= 100  # type: ignore[operator]
            assert found.parameters["class_weight"] in [None, "balanced", {"yes": 2, "no": 1}]


def test_propose_depends_on_seed_number_and_finished_trials() -> None:
    history = [as_trial(proposal([], number), 0.5 + number / 100) for number in range(12)]
    assert drawn(proposal(history, 12)) == drawn(proposal(history, 12))
    assert drawn(proposal(history, 12)) != drawn(proposal(history, 13))
    assert drawn(proposal(history, 12)) != drawn(proposal(history, 12, seed=1))


def test_propose_prefers_the_algorithm_of_the_best_trials() -> None:
    history = []
    for number in range(1, 40):
        found = proposal([], number)
        history.append(as_trial(found, 0.9 if found.algorithm == "KNeighborsClassifier" else 0.1))
    chosen = [proposal(history, number).algorithm for number in range(40, 60)]
    assert chosen.count("KNeighborsClassifier") > 15


def test_proposal_below_the_median_is_pruned() -> None:
    history = [trial(number, 0.9, 0.9) for number in range(1, 7)]
    history.append(trial(7, 0.2, state="pruned"))
    assert proposal(history, 8).should_prune([0.1])
    assert not proposal(history, 8).should_prune([0.95])
    assert not proposal(history[:2], 8).should_prune([0.1])


def test_require_optuna_without_the_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_optuna(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "optuna":
            raise ModuleNotFoundError(name="optuna")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_optuna)
    with pytest.raises(FieldError, match=r"install tidegate\[training,search\]"):
        require_optuna()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.searches import SPLITS, TARGET, problem, search_configuration, table
from tidegate.errors import DataError
from tidegate_training.config import Algorithm
from tidegate_training.data.table import Table
from tidegate_training.evaluation.leaderboard import SearchResult
from tidegate_training.search import study
from tidegate_training.search.nested import make_studies, run_shards, search_algorithm, wait_for_shards
from tidegate_training.search.storage import TrialStorage
from tidegate_training.search.workers import Workers


def search(folder: Path, data: Table | None = None, **options: Any) -> SearchResult:
    own = replace(problem(folder, **options), table=data or table())
    return search_algorithm(own, SPLITS.train, workers=Workers(), wait=False, on_step=lambda step: None)


def test_search_sees_no_row_of_validation_and_test(tmp_path: Path) -> None:
    target = TARGET.copy()
    unseen = np.concatenate([SPLITS.validation, SPLITS.test])
    target[unseen] = np.where(target[unseen] == "yes", "no", "yes")
    assert _without_times(search(tmp_path / "b", table(target))) == _without_times(search(tmp_path / "a"))


def test_make_studies_hides_the_rows_of_an_outer_fold() -> None:
    studies = make_studies(search_configuration(), table(), SPLITS.train)
    assert [own.name for own in studies.all] == ["all", "outer-1", "outer-2"]
    assert sorted(np.concatenate([held_out for (_, held_out), _ in studies.outer])) == SPLITS.train.tolist()
    for (train, held_out), own in studies.outer:
        seen = np.unique(np.concatenate([np.concatenate(fold) for fold in own.folds]))
        assert seen.tolist() == train.tolist()
        assert not set(seen) & set(held_out)


def test_make_studies_keeps_groups_and_times_apart() -> None:
    config = search_configuration()
    groups = np.arange(90) // 5
    for (train, held_out), own in make_studies(config, table(groups=groups), SPLITS.train).outer:
        for fitted, scored in [(train, held_out), *own.folds]:
            assert not set(groups[fitted]) & set(groups[scored])
    times = np.random.default_rng(1).permutation(90)
    for (train, held_out), own in make_studies(config, table(times=times), SPLITS.train).outer:
        for fitted, scored in [(train, held_out), *own.folds]:
            assert times[fitted].max() < times[scored].min()


def test_make_studies_of_few_rows_names_the_option() -> None:
    config = search_configuration(folds={"outer": 2, "inner": 20})
    with pytest.raises(DataError, match=r"set fewer folds in search\.folds\.inner"):
        make_studies(config, table(), SPLITS.train)


def test_search_of_noise_reports_less_than_its_winner(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).permutation(TARGET)
    result = search(tmp_path, table(noise), trials=12)
    assert (result.winner.mean or 0) > (result.estimate or 1)
    assert result.fits == 2 + sum(
        len(trial.scores)
        for name in ("all", "outer-1", "outer-2")
        for trial in TrialStorage(str(tmp_path), "test").read(name)
    )


def test_search_without_a_complete_trial_is_an_error(tmp_path: Path) -> None:
    own = problem(tmp_path, trials=1)
    config = own.config.model_copy(update={"algorithm": Algorithm(name="LinearSVC")})
    with pytest.raises(DataError, match=r"No trial of the search is complete: .*brier"):
        search_algorithm(
            replace(own, config=config, metric="brier"),
            SPLITS.train,
            workers=Workers(),
            wait=False,
            on_step=lambda step: None,
        )


def test_shards_of_other_processes_give_the_same_result(tmp_path: Path) -> None:
    own = problem(tmp_path / "shared", shards=2)
    studies, waiting = make_studies(own.config, own.table, SPLITS.train), []

    def run_next_shard(seconds: float) -> None:
        waiting.append(run_shards(own, studies, [1 - len(waiting)], Workers(), lambda step: None))

    steps: list[str] = []
    wait_for_shards(own, studies, steps.append, run_next_shard)
    assert waiting == [6, 6]
    assert steps == ["waiting: for the shards of 3 searches"] * 2
    shared = search_algorithm(own, SPLITS.train, workers=Workers(), wait=True, on_step=steps.append)
    assert _without_times(shared) == _without_times(search(tmp_path / "alone", shards=2))


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.unit.training.search.test_nested import search
from tidegate_training.search.storage import TrialStorage
write = TrialStorage.write
def write_five(self, study, trial):
    write(self, study, trial)
    if (study, trial.number) == ("outer-1", 1):
        os.kill(os.getpid(), signal.SIGKILL)
TrialStorage.write = write_five
search(Path(sys.argv[1]))
"""


def test_search_after_sigkill_runs_no_finished_trial_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], check=False)
    assert killed.returncode == -9
    storage = problem(tmp_path / "killed").storage
    finished = {name: storage.read(name) for name in ("all", "outer-1", "outer-2")}
    assert [len(trials) for trials in finished.values()] == [4, 2, 0]
    run, again = study.run_trial, []

    def recorded(problem: Any, own: Any, proposal: Any, clock: Any) -> Any:
        again.append((own.name, proposal.number))
        return run(problem, own, proposal, clock)

    monkeypatch.setattr(study, "run_trial", recorded)
    continued = search(tmp_path / "killed")
    assert again == [("outer-1", 2), ("outer-1", 3), *(("outer-2", number) for number in range(4))]
    assert storage.read("all") == finished["all"]
    assert _without_times(continued) == _without_times(search(tmp_path / "undisturbed"))


def _without_times(result: SearchResult) -> SearchResult:
    trials, winners = (
        tuple(replace(trial, seconds=0.0) for trial in own) for own in (result.trials, result.winners)
    )
    return replace(result, trials=trials, winners=winners)

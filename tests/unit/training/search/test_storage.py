# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from tests.support.searches import search_configuration, trial
from tidegate.errors import ConfigurationError
from tidegate_training.search.storage import TrialStorage, open_storage, search_versions

TRIALS = [trial(2, 0.5, 0.25), trial(10, state="failed", reason="no rows")]


def test_trial_storage_returns_what_was_written(tmp_path: Path) -> None:
    storage = open_storage(search_configuration(), "d", {}, str(tmp_path / "trials"))
    assert storage.read("all") == []
    for finished in reversed(TRIALS):
        storage.write("all", finished)
    storage.write("outer-1", trial(0))
    assert storage.read("all") == TRIALS


def test_trial_storage_reads_no_known_trial_again(tmp_path: Path) -> None:
    storage = TrialStorage(str(tmp_path), "search")
    storage.write("all", trial(0))
    known = storage.read("all")
    (tmp_path / "search" / "all" / "00000.json").write_text("not read")
    storage.write("all", trial(1))
    assert storage.read("all", known) == [trial(0), trial(1)]


def test_open_storage_of_a_relative_folder_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_storage(search_configuration(), "d", {}, "trials").uri == (tmp_path / "trials").as_uri()


def test_search_versions_have_those_of_the_candidates() -> None:
    config = search_configuration(algorithms=[{"name": "XGBClassifier"}, {"name": "LGBMClassifier"}])
    versions = search_versions(config)
    assert {"optuna", "xgboost", "lightgbm", "scikit-learn"} <= versions.keys()
    assert "catboost" not in versions


def test_trial_storage_keeps_the_first_of_two_writers(tmp_path: Path) -> None:
    storage = TrialStorage(str(tmp_path), "search")
    storage.write("all", trial(1, 0.5, seconds=1))
    storage.write("all", trial(1, 0.5, seconds=2))
    assert [finished.seconds for finished in storage.read("all")] == [1]


def test_trial_storage_with_a_damaged_object_names_it(tmp_path: Path) -> None:
    storage = TrialStorage(str(tmp_path), "search")
    storage.write("all", trial(1))
    (tmp_path / "search" / "all" / "00001.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"all/00001\.json is not a trial .* delete it"):
        storage.read("all")


def test_open_storage_other_trials_has_another_folder(tmp_path: Path) -> None:
    def folder(data: str = "d", versions: str = "1", **options: object) -> str:
        config = search_configuration(**options)
        return open_storage(config, data, {"scikit-learn": versions}, str(tmp_path)).folder

    assert folder() == folder(trials=9) == folder(minutes=3.0)
    assert len({folder(), folder("e"), folder(versions="2"), folder(metric="f1"), folder(shards=2)}) == 5

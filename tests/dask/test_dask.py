# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A search on a Dask cluster of two processes: the result is that of one process."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import LocalCluster

from tests.support.searches import SPLITS, problem
from tidegate.errors import ServerError
from tidegate_training.evaluation.leaderboard import SearchResult
from tidegate_training.search.nested import search_algorithm
from tidegate_training.search.workers import Workers


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def search(folder: Path, workers: Workers) -> SearchResult:
    own = problem(folder, shards=2)
    result = search_algorithm(own, SPLITS.train, workers=workers, wait=False, on_step=lambda step: None)
    return replace(
        result,
        trials=tuple(replace(trial, seconds=0) for trial in result.trials),
        winners=tuple(replace(trial, seconds=0) for trial in result.winners),
    )


def test_search_on_dask_is_that_of_one_process(scheduler: str, tmp_path: Path) -> None:
    on_dask = search(tmp_path / "dask", Workers(dask=scheduler))
    assert on_dask == search(tmp_path / "here", Workers())


def test_search_without_the_scheduler_names_its_address(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"scheduler tcp://127\.0\.0\.1:1 cannot be reached"):
        search(tmp_path, Workers(dask="tcp://127.0.0.1:1"))

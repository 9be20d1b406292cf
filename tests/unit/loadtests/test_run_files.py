# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

from tests.support.stub_server import make_contract
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.run_files import RunConfig, RunStatus


def test_run_status_before_the_first_write_is_initial(tmp_path: Path) -> None:
    assert RunStatus.read(tmp_path / "status.json") == RunStatus()


def test_run_status_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    for status in (
        RunStatus(ready_workers=2, measure_start=7.5),
        RunStatus(generators=(Generator(None, 0.5, 0.75, 0.0, 0.0, "worker 0 on a", 2.5),)),
        RunStatus(inconclusive_reason="worker 0 on a was lost"),
    ):
        status.write(path)
        assert RunStatus.read(path) == status
    assert list(tmp_path.iterdir()) == [path]


def test_run_config_survives_json(tmp_path: Path) -> None:
    config = RunConfig(
        plan=LoadTest(users=1, duration=1, protocols={"v1": 1, "v2-binary": 2}),
        contract=make_contract(),
        samples_path=tmp_path / "samples.csv",
        status_path=tmp_path / "status.json",
    )
    assert RunConfig.model_validate_json(config.model_dump_json()) == config

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

from tests.support.campaigns import make_load_campaign
from tests.support.stub_server import make_contract
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.live_metrics import LiveMetrics
from tidegate_loadtests.run_files import RunConfig, RunStatus


def test_run_status_before_the_first_write_is_initial(tmp_path: Path) -> None:
    assert RunStatus.read(tmp_path / "status.json") == RunStatus()


def test_run_status_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    for status in (
        RunStatus(ready_workers=2, start_time=7.5, started_at=1e9, live=LiveMetrics(3, 1, 0.5, 7.25)),
        RunStatus(generators=(Generator(None, 0.5, 0.75, 0.0, 0.0, "worker 0 on a", 2.5),)),
        RunStatus(inconclusive_reason="worker 0 on a was lost"),
    ):
        status.write(path)
        assert RunStatus.read(path) == status
    assert list(tmp_path.iterdir()) == [path]


def test_run_config_survives_json(tmp_path: Path) -> None:
    config = RunConfig(
        campaign=make_load_campaign({"model": "closed", "users": 1}, protocols={"v1": 1, "v2-binary": 2}),
        contract=make_contract(),
        samples_path=tmp_path / "samples.parquet",
        status_path=tmp_path / "status.json",
    )
    assert RunConfig.model_validate_json(config.model_dump_json()) == config

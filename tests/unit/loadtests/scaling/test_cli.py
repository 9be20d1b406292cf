# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tidegate.errors import ConfigurationError, GateNotPassedError
from tidegate_loadtests.capacity.document import Capacity
from tidegate_loadtests.cli import app
from tidegate_loadtests.scaling.settings import ChartValues

TRAFFIC = "second,rate\n0,1000\n600,12000\n1200,12000\n1800,1000\n2400,1000\n"
CPU = "autoscaling: {maxReplicas: 12}"
KEDA = "autoscaling: {type: keda, minReplicas: 4, maxReplicas: 12, keda: {inFlightPerReplica: 3}}"


@pytest.fixture
def simulate(tmp_path: Path, capacity: Capacity) -> Callable[..., Result]:
    capacity.write(tmp_path / "capacity.yaml")
    (tmp_path / "traffic.csv").write_text(TRAFFIC)
    (tmp_path / "cpu.yaml").write_text(CPU)
    (tmp_path / "keda.yaml").write_text(KEDA)

    def run(*arguments: str, values: tuple[str, ...] = ("cpu.yaml", "keda.yaml")) -> Result:
        options = [option for name in values for option in ("--values", str(tmp_path / name))]
        capacity_file = str(tmp_path / "capacity.yaml")
        command = ["simulate", str(tmp_path / "traffic.csv"), "--capacity", capacity_file, *options]
        return CliRunner().invoke(app, [*command, *arguments])

    return run


def test_simulate_json_compares_the_settings(simulate: Callable[..., Result]) -> None:
    document = json.loads(simulate("--output", "json").stdout)
    cpu, keda = document["settings"]
    assert (cpu["name"], keda["name"]) == ("cpu", "keda")
    assert document["requests"] == 600 * (1000 + 12_000 + 12_000 + 1000 + 1000)
    assert cpu["replica_seconds"] > keda["replica_seconds"]
    assert keda["replicas"][0] == [0, 4]
    assert [count for _, count in keda["replicas"]][-1] < keda["peak_replicas"]
    assert document["suggested_values"] is None


def test_simulate_text_has_one_column_per_settings(simulate: Callable[..., Result]) -> None:
    result = simulate()
    assert result.exit_code == 0
    assert "cpu 80 %" in result.stdout
    assert "in_flight 3" in result.stdout


def test_simulate_suggested_values_are_values_of_the_chart(simulate: Callable[..., Result]) -> None:
    document = json.loads(simulate("--suggest", "--output", "json").stdout)
    given, suggested = document["settings"][0], document["settings"][-1]
    assert suggested["kept"]
    values = ChartValues.model_validate(document["suggested_values"])
    assert values.autoscaling.min_replicas == suggested["min_replicas"]
    assert suggested["replica_seconds"] < given["replica_seconds"]


def test_simulate_plot_writes_a_picture(simulate: Callable[..., Result], tmp_path: Path) -> None:
    picture = tmp_path / "plots" / "day.png"
    assert str(picture) in simulate("--plot", str(picture)).stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_simulate_impossible_threshold_exits_with_code_3(
    simulate: Callable[..., Result], tmp_path: Path, capacity: Capacity
) -> None:
    threshold = capacity.threshold.model_copy(update={"latency_ms": 0.001})
    capacity.model_copy(update={"threshold": threshold}).write(tmp_path / "capacity.yaml")
    result = simulate("--suggest")
    assert isinstance(result.exception, GateNotPassedError)
    assert "0.001 ms" in str(result.exception)


def test_simulate_same_name_twice_is_rejected(simulate: Callable[..., Result]) -> None:
    result = simulate(values=("cpu.yaml", "cpu.yaml"))
    assert isinstance(result.exception, ConfigurationError)
    assert "cpu, cpu" in str(result.exception)

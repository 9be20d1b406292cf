# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.capacities import FIELDS
from tidegate.errors import ConfigurationError
from tidegate_loadtests.capacity.document import Capacity


def read_fields(folder: Path, **changes: Any) -> Capacity:
    file = folder / "capacity.yaml"
    file.write_text(yaml.safe_dump(FIELDS | changes))
    return Capacity.read(file)


def test_capacity_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    capacity = Capacity.model_validate(FIELDS | {"safe_rate": 3999.999, "digest": "1" * 64})
    file = tmp_path / "capacity.yaml"
    capacity.write(file)
    assert Capacity.read(file) == capacity
    assert capacity.safe_rate == 4000
    assert file.read_text().startswith("# Written by 'tidegate loadtest capacity'")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"version": 2}, ["capacity.yaml:", "'version'", "received 2"]),
        ({"digest": "sha256:" + "ab" * 32}, ["'digest'", "pattern"]),
        ({"safe_rate": 4200.0}, ["'safe_rate'", "at most capacity_rate.low (4100), received 4200"]),
        ({"capacity_rate": {"median": 9, "low": 8, "high": 7}}, ["'capacity_rate'", "received 8, 9, 7"]),
        ({"cpu_at_rates": FIELDS["cpu_at_rates"][::-1]}, ["'cpu_at_rates'", "ascending"]),
        (
            {"cpu_at_rates": [*FIELDS["cpu_at_rates"], FIELDS["cpu_at_rates"][2].copy()]},
            ["'cpu_at_rates'", "each once"],
        ),
        ({"cpu_at_rates": []}, ["'cpu_at_rates'", "at least 1"]),
        ({"startup_seconds": float("nan")}, ["'startup_seconds'", "nan"]),
        ({"measured_at": "2026-01-02T03:04:05"}, ["'measured_at'", "timezone"]),
        ({"replicas": 2}, ["unknown field 'replicas'"]),
    ],
)
def test_capacity_file_with_wrong_field_is_rejected(
    tmp_path: Path, changes: dict[str, Any], expected: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_fields(tmp_path, **changes)
    for text in expected:
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("rate", "cpu", "in_flight"),
    [(0, 0, 0), (500, 0.35, 0.25), (1500, 0.8, 1.25), (4000, 0.98, 8), (9000, 0.98, 8)],
)
def test_metrics_between_rates_are_interpolated(rate: float, cpu: float, in_flight: float) -> None:
    capacity = Capacity.model_validate(FIELDS)
    assert capacity.cpu_at(rate) == pytest.approx(cpu)
    assert capacity.in_flight_at(rate) == pytest.approx(in_flight)

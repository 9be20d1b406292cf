# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import asdict
from typing import Any

import pytest

from benchmarks.signals import Row, default_cpu_target, fraction_at_cpu, page

ROWS = [
    Row("onnx", 1_000 * fraction, fraction, 0.0, 0.1, 0.1, 0.0, cpu, 0.1, 1.5)
    for fraction, cpu in ((0.1, 0.2), (0.2, 0.4), (0.5, 0.7))
]


@pytest.mark.parametrize(
    ("cores", "fraction"), [(0.1, 0.05), (0.2, 0.1), (0.3, 0.15), (0.55, 0.35), (0.7, 0.5), (0.71, None)]
)
def test_fraction_at_cpu_lies_between_two_loads(cores: float, fraction: float | None) -> None:
    assert fraction_at_cpu(ROWS, cores) == (None if fraction is None else pytest.approx(fraction))


@pytest.mark.parametrize(("request_cpu", "cores"), [("500m", 0.4), ("2", 1.6), (1, 0.8)])
def test_default_cpu_target_is_a_percentage_of_the_request(request_cpu: Any, cores: float) -> None:
    values = {
        "resources": {"requests": {"cpu": request_cpu}},
        "autoscaling": {"targetCPUUtilization": 80},
    }
    assert default_cpu_target(values) == pytest.approx(cores)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.2, "reached it at 0.20\nof its ceiling, so the default plans 5.0 times the replicas"),
        (None, "No measured load reached it.\n"),
    ],
)
def test_page_has_each_load_and_the_factor(fraction: float | None, text: str) -> None:
    result = {
        "machine": {"cores": 2, "processor": "CPU", "kernel": "6.1"},
        "model": "lr",
        "engine": "onnx",
        "cpu_target": 0.4,
        "fraction_at_cpu_target": fraction,
        "rows": [asdict(row) for row in ROWS],
    }
    rendered = page(result)
    assert text in rendered
    assert "uses 0.4 of a core" in rendered
    assert "| 0.50 | 500 | 0.70 | 0.1 | 0.1 | 0.10 | 1.50 |" in rendered

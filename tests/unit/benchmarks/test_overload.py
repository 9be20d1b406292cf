# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import asdict

from benchmarks.overload import page
from benchmarks.overload_figures import ClosedLoop


def test_page_without_cpu_limits_gives_the_reason() -> None:
    result = {
        "machine": {"cores": 2, "processor": "CPU", "kernel": "6.1"},
        "skipped": "a CPU limit needs the right to create a group: run as root",
        "figures": [],
        "closed_loops": [],
        "experiments": {"costs": {250: {"response_seconds": 2e-3, "rejection_seconds": None, "rejected": 0}}},
    }
    text = page(result)
    assert "skipped: a CPU limit needs the right" in text
    assert "## Closed loops" not in text
    assert "| 250 | 2.000 | inconclusive | 0 |" in text


def test_page_has_a_row_per_round() -> None:
    loop = ClosedLoop("tidegate-sklearn", "rf", 0.3, 4, (290.0, 300.0, 310.0), (1.0,) * 3, 0, 0.02)
    overload = {
        "capacity": 300.0,
        "offered": 610.0,
        "goodput": 285.0,
        "rejected": 4_000,
        "p99_seconds": 2.1,
        "engine_call_seconds": 0.12,
    }
    result = {
        "machine": {"cores": 2, "processor": "CPU", "kernel": "6.1"},
        "skipped": None,
        "figures": [],
        "closed_loops": [asdict(loop) | {"rps": loop.rps}],
        "experiments": {"costs": {}, "overload": [overload, overload | {"p99_seconds": None}]},
    }
    text = page(result)
    assert "median of 3 sweeps" in text
    assert "| rf | 0.3 | 4 | 300.0 | 290.0 | 0 | 2% |" in text
    assert "| 1 | 300 | 610 | 285 | 0.950 | 4,000 | 2.10 s | 0.12 s |" in text
    assert "| 2 | 300 | 610 | 285 | 0.950 | 4,000 | inconclusive | 0.12 s |" in text

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from benchmarks.overload import page


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

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import errno
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ratios, report
from benchmarks.case import Case, Protocol
from benchmarks.measurement import Measurement
from benchmarks.rounds import Results, result_row

FIGURES = {
    "rps": 100.0,
    "responses_per_cpu_s": 110.0,
    "p50_ms": 1.0,
    "p99_ms": 2.0,
    "generator_cpu": 0.5,
    "server_cpu": 1.0,
    "rss_mb": 90.0,
}
CASES = [Case(server, "lr", Protocol.V1, 1, n) for server in ("tidegate", "kserve") for n in (1, 16, 64)]
STAGES = [
    {
        "model": "lr",
        "protocol": "v1",
        "rows": 1,
        "connections": connections,
        "requests": 16,
        "us": {"parse": 2.0, "validate": 1.5, "compute": 1.0, "encode": 0.5},
    }
    for connections in (64, 65)
]
FAILED = Case("kserve", "mixed", Protocol.V2, 1, 64)


def make_result(rounds: list[Results]) -> dict[str, Any]:
    return {
        "plan": {
            "name": "full",
            "rounds": len(rounds),
            "warmup_seconds": 1,
            "measured_seconds": 3,
            "runs": [],
        },
        "machine": {"cores": 2, "processor": "CPU", "memory_gb": 8.0, "kernel": "6.1", "python": "3.11.7"},
        "versions": {
            "tidegate": {"tidegate": "0"},
            "kserve": {"kserve": "0"},
            "tools": {"wrk": "4", "h2load": "1"},
        },
        "seconds": 1.0,
        "ratios": ratios.evaluate(
            [
                {case: None if m.inconclusive else m.figures for case, m in results.items()}
                for results in rounds
            ]
        ),
        "rows": [result_row(case, rounds) for case in rounds[0]],
        "stages": STAGES,
    }


def test_page_lists_an_inconclusive_case_once_with_rounds() -> None:
    failed = Measurement({}, "wrong labels after the measurement: status 500")
    round_of_results: Results = {case: Measurement(FIGURES, None) for case in CASES} | {FAILED: failed}

    page = report.page(make_result([round_of_results] * 3))

    (line,) = [line for line in page.splitlines() if "wrong labels after the measurement: status 500" in line]
    assert "KServe SDK (custom model), mixed, v2, 1 rows, 64 connections" in line
    assert "3 of 3" in line


def test_page_divides_the_cpu_time_of_a_response() -> None:
    round_of_results: Results = {case: Measurement(FIGURES, None) for case in CASES}

    page = report.page(make_result([round_of_results]))

    assert "| lr | v1 | 1 | 64 | 16 | 2.0 | 1.5 | 1.0 | 0.5 | 9,085.9 | 9,090.9 |" in page
    assert "| lr | v1 | 1 | 65 | 16 | 2.0 | 1.5 | 1.0 | 0.5 | - | - |" in page


def test_page_grpc_rows_per_cpu_second_counts_all_rows() -> None:
    cases = [Case("tidegate", "lr", Protocol.GRPC, rows, 16) for rows in (1, 64)]
    round_of_results: Results = {case: Measurement(FIGURES, None) for case in [*CASES, *cases]}

    page = report.page(make_result([round_of_results]))

    rates = "100 (100 to 100) | 110 (110 to 110)"
    assert f"| Tidegate | lr | 1 | 16 | 1 | {rates} | 110 | 1.00 | 2.00 |" in page
    assert f"| Tidegate | lr | 64 | 16 | 1 | {rates} | 7,040 | 1.00 | 2.00 |" in page
    assert "Many rows per request" not in page


def test_page_shows_each_ratio_with_value_and_target() -> None:
    round_of_results: Results = {case: Measurement(FIGURES, None) for case in CASES}

    page = report.page(make_result([round_of_results]))

    (line,) = [
        line for line in page.splitlines() if "V1, logistic regression, 64 connections: Tidegate" in line
    ]
    assert line.endswith("| 1 | ≥ 25 | no |")


def test_write_result_disk_full_keeps_the_previous_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    report.write_result(path, {"seconds": 1})
    assert path.read_text() == '{\n "seconds": 1\n}\n'

    def write_half(file: Path, text: str) -> None:
        file.write_bytes(text[: len(text) // 2].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(OSError, match="No space left"):
        report.write_result(path, {"seconds": 2})
    assert path.read_text() == '{\n "seconds": 1\n}\n'

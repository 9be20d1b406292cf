# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A capacity file for tests: a compiled model whose server is busy long before its capacity."""

from typing import Any

FIELDS: dict[str, Any] = {
    "digest": "ab" * 32,
    "model": "breast-cancer",
    "engine": "onnx",
    "hardware": {"cpu": "Some CPU @ 2.00GHz", "cpus": 2, "memory_bytes": 8_000_000_000},
    "limits": {"cpu": 1.0, "memory_bytes": 1_073_741_824},
    "protocol": "v1",
    "rows_per_request": 1,
    "threshold": {"percentile": 99.0, "latency_ms": 20.0, "max_failure_ratio": 0.0},
    "safe_rate": 4000.0,
    "capacity_rate": {"median": 4400.0, "low": 4100.0, "high": 4800.0},
    "service_time": {"call_seconds": 6.0e-05, "row_seconds": 1.4e-05, "jitter": 0.1},
    "in_flight_at_safe_rate": 8.0,
    "cpu_at_rates": [
        {
            "rate": 1000.0,
            "cpu_seconds_per_second": 0.7,
            "in_flight": 0.5,
            "latency_p99_ms": 1.0,
            "mean_batch_rows": 1.1,
        },
        {
            "rate": 2000.0,
            "cpu_seconds_per_second": 0.9,
            "in_flight": 2.0,
            "latency_p99_ms": 2.0,
            "mean_batch_rows": 1.5,
        },
        {
            "rate": 4000.0,
            "cpu_seconds_per_second": 0.98,
            "in_flight": 8.0,
            "latency_p99_ms": 9.0,
            "mean_batch_rows": 4.0,
        },
    ],
    "startup_seconds": 3.5,
    "memory_bytes": 220_000_000,
    "tidegate_version": "0.1.0",
    "measured_at": "2026-01-02T03:04:05Z",
}

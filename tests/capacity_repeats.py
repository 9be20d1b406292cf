# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the capacity of two models three times each, and compare the repeats.

``python -m tests.capacity_repeats [MODEL ...]`` writes ``out/loadtest/capacity.json``. It exits with 1 if a
repeat is inconclusive, or if its capacity or its safe rate differs by more than 10 % from the median of the
repeats. It needs a machine without other load.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "out" / "loadtest"
REPEATS = 3
MAX_DIFFERENCE = 0.10
TIDEGATE = Path(sys.executable).with_name("tidegate")
MODELS = {
    # With fewer rows, the load generator needs more CPU than the model.
    "breast-cancer": (
        "examples/breast-cancer/train.yaml",
        ["--threshold-p99-ms", "20", "--engine", "onnx", "--rows-per-request", "50"],
    ),
    "forest": (
        "benchmarks/models/rf.yaml",
        ["--threshold-p99-ms", "200", "--engine", "sklearn", "--rows-per-request", "10"],
    ),
}
"""By name, the training configuration and the options of the measurement."""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run([TIDEGATE, *arguments], cwd=ROOT, capture_output=True, text=True)


def measure(name: str) -> dict[str, Any]:
    """Measure a model, and return the repeats with their largest difference."""
    config, options = MODELS[name]
    bundle = OUT / "capacity" / name / "bundle"
    if not bundle.exists():
        run("train", config, "--out", bundle).check_returncode()
    repeats: list[dict[str, Any]] = []
    for number in range(REPEATS):
        folder = OUT / "capacity" / name / str(number)
        result = run(
            *("loadtest", "capacity", "--bundle", bundle, "--peak", "10000", "--seed", str(number)),
            *("--out", folder, "--output", "json", *options),
        )
        last_line = result.stderr.strip().rpartition("\n")[2]
        print(f"{name}, repeat {number + 1}: exit code {result.returncode}; {last_line}", flush=True)
        repeats.append(
            json.loads(result.stdout)
            if result.returncode == 0
            else {"safe_rate": None, "inconclusive_reason": last_line, "files": str(folder.relative_to(ROOT))}
        )
    return compare(repeats)


def compare(repeats: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the repeats with the largest relative difference of each rate from its median.

    >>> repeats = [{"capacity_rate": {"median": 100.0}, "safe_rate": rate} for rate in (80.0, 90.0, 90.0)]
    >>> compare(repeats)
    {'passed': False, 'max_differences': {'capacity_rate': 0.0, 'safe_rate': 0.111...}, 'repeats': ...}
    >>> compare(repeats[1:])["passed"], compare([*repeats, {"safe_rate": None}])["max_differences"]
    (True, None)
    """
    differences = None
    if all(one["safe_rate"] is not None for one in repeats):
        differences = {
            "capacity_rate": _max_difference([one["capacity_rate"]["median"] for one in repeats]),
            "safe_rate": _max_difference([one["safe_rate"] for one in repeats]),
        }
    return {
        "passed": differences is not None and max(differences.values()) <= MAX_DIFFERENCE,
        "max_differences": differences,
        "repeats": repeats,
    }


def _max_difference(rates: Sequence[float]) -> float:
    return max(abs(rate / median(rates) - 1) for rate in rates)


def main() -> None:
    """Measure the named models, or all."""
    results = {name: measure(name) for name in sys.argv[1:] or MODELS}
    (OUT / "capacity.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for name, result in results.items():
        differences = result["max_differences"]
        if differences is None:
            print(f"{name}: a repeat is inconclusive")
        else:
            print(
                f"{name}: largest difference "
                + ", ".join(f"of {key} {value:.1%}" for key, value in differences.items())
            )
    sys.exit(not all(result["passed"] for result in results.values()))


if __name__ == "__main__":
    main()

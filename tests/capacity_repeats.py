# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the capacity of two models three times each, and compare the repeats.

``python -m tests.capacity_repeats [MODEL ...]`` writes ``out/loadtest/capacity.json``. It exits with 1 if a
repeat is inconclusive or differs by more than 10 % from the median. It needs a machine without other load.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "out" / "loadtest"
REPEATS = 3
MAX_DIFFERENCE = 0.10
TIDEGATE = Path(sys.executable).with_name("tidegate")
MODELS = {
    # With fewer rows, the load generator needs more CPU than the compiled model.
    "breast-cancer": (
        "examples/breast-cancer/train.yaml",
        ["--threshold-p99-ms", "20", "--engine", "onnx", "--rows-per-request", "50"],
    ),
    "forest": ("benchmarks/models/rf.yaml", ["--threshold-p99-ms", "200", "--engine", "sklearn"]),
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
            else {"safe_rate": None, "inconclusive_reason": last_line}
        )
    rates = [one["capacity_rate"]["median"] for one in repeats if one["safe_rate"] is not None]
    difference = max(abs(rate / median(rates) - 1) for rate in rates) if len(rates) == REPEATS else None
    return {
        "passed": difference is not None and difference <= MAX_DIFFERENCE,
        "max_difference": difference,
        "repeats": repeats,
    }


def main() -> None:
    """Measure the named models, or all."""
    results = {name: measure(name) for name in sys.argv[1:] or MODELS}
    (OUT / "capacity.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for name, result in results.items():
        difference = result["max_difference"]
        text = "a repeat is inconclusive" if difference is None else f"largest difference {difference:.1%}"
        print(f"{name}: {text}")
    sys.exit(not all(result["passed"] for result in results.values()))


if __name__ == "__main__":
    main()

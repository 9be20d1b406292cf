# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m tools.hpa_oracle``: compare our decisions with those of Kubernetes' own HorizontalController.

Exit code 0 means that every decision is equal, 3 that one differs, 1 that the oracle cannot be built or run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tidegate.errors import ExitCode, TidegateError
from tools.cluster.toolchain import module_version
from tools.hpa_oracle import controller, golden
from tools.hpa_oracle.comparison import Comparison
from tools.hpa_oracle.generator import draw_scenario

RESULT = Path(__file__).parents[2] / "out" / "loadtest" / "hpa-oracle.json"
BATCH = 500
"""Scenarios per run of the oracle; a batch is in memory at once."""


def main() -> int:
    """Compare random scenarios and write the result; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.hpa_oracle", description=__doc__)
    parser.add_argument("--scenarios", type=int, default=10_000, help="number of random scenarios")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same scenarios")
    parser.add_argument("--output", type=Path, default=RESULT, help="the result, as JSON")
    parser.add_argument(
        "--write-golden", type=int, metavar="N", help="store the first N scenarios for the tests"
    )
    arguments = parser.parse_args()
    started = time.monotonic()
    comparison, stored = Comparison(), []
    try:
        with tempfile.TemporaryDirectory(prefix="tidegate-oracle-") as folder:
            program = controller.build(Path(folder))
            for first in range(0, arguments.scenarios, BATCH):
                numbers = range(first, min(first + BATCH, arguments.scenarios))
                scenarios = [draw_scenario(arguments.seed, number) for number in numbers]
                for scenario, decisions in zip(
                    scenarios, controller.decide_all(program, scenarios), strict=True
                ):
                    comparison.add(scenario, decisions)
                    if scenario["id"] < (arguments.write_golden or 0):
                        stored.append((scenario, decisions))
                print(
                    f"{comparison.scenarios:,} scenarios, {comparison.differences} differences",
                    file=sys.stderr,
                )
    except TidegateError as error:
        print(f"hpa-oracle: {error}", file=sys.stderr)
        return error.exit_code
    if stored:
        golden.write(stored)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "seed": arguments.seed,
        "scenarios": comparison.scenarios,
        "decisions": comparison.decisions,
        "differences": comparison.differences,
        "changes_of_replicas": comparison.changes_of_replicas,
        "reasons": dict(comparison.reasons.most_common()),
        "examples": comparison.examples,
        "seconds": round(time.monotonic() - started, 1),
        "versions": {
            "k8s.io/kubernetes": module_version(controller.GO_MOD.read_text(), "k8s.io/kubernetes"),
            "go": subprocess.run(
                ["go", "env", "GOVERSION"], capture_output=True, text=True, check=True
            ).stdout.strip(),
        },
    }
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return ExitCode.GATE_NOT_PASSED if comparison.differences else ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the error rates of the rollout's verdict on simulated rollouts.

``python -m tests.rollout_error_rates`` writes ``out/rollout/error-rates.json`` and the table of
``docs/rollout.md``. It exits with 1 if an error rate misses its bar. Every rollout is judged by
``tidegate_rollout.verdict.assess``.
"""

import json
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tests.support.rollouts import Run, Traffic, study, summarize
from tidegate_rollout.policy import RolloutPolicy, Step

ROOT = Path(__file__).parents[1]
OUT = ROOT / "out" / "rollout" / "error-rates.json"
PAGE = ROOT / "docs" / "rollout.md"
BEGIN, END = "<!-- Written by `make rollout-error-rates`: -->", "<!-- end -->"
SEED = 13
CHUNKS = 16
"""Parts of a study, so that two processes share it."""

RAMP = RolloutPolicy()
WEIGHTS = RolloutPolicy(predictions=None, steps=(Step(weight=5), Step(weight=25), Step(weight=50)))
SMALL_WEIGHT = RolloutPolicy(predictions=None, steps=(Step(weight=5),))


@dataclass(frozen=True)
class Study:
    """Rollouts of one kind, and the bar of their error rate."""

    policy: RolloutPolicy
    traffic: Traffic
    runs: int
    bar: tuple[str, float]
    """An outcome, and its largest ratio, or its smallest if the outcome is the right one."""


EQUAL, WORSE, WRONG = ("fail", 0.01), ("fail", 0.95), ("pass", 0.05)
STUDIES: Mapping[str, Study] = {
    "equal, 0.5 % errors": Study(RAMP, Traffic(), 500, EQUAL),
    "equal, 2 % errors": Study(RAMP, Traffic(4000, error_ratio=0.02), 600, EQUAL),
    "equal, without errors": Study(RAMP, Traffic(4000, error_ratio=1e-6), 500, EQUAL),
    "equal, 0.5 % errors, few requests": Study(RAMP, Traffic(300), 40, EQUAL),
    "equal, 1 % other labels": Study(RAMP, Traffic(4000, disagreement=0.01), 400, EQUAL),
    "errors x 2": Study(WEIGHTS, Traffic(error_odds=2), 400, WORSE),
    "errors x 2 of 2 %": Study(WEIGHTS, Traffic(error_ratio=0.02, error_odds=2), 400, WORSE),
    "errors x 10, 5 % weight": Study(SMALL_WEIGHT, Traffic(error_odds=10), 400, WORSE),
    "slow requests x 3": Study(WEIGHTS, Traffic(slow_odds=3), 400, WORSE),
    "slow requests x 3, 5 % weight": Study(SMALL_WEIGHT, Traffic(slow_odds=3), 400, WORSE),
    "30 % other labels": Study(RAMP, Traffic(disagreement=0.3), 200, WORSE),
    "7 % other labels": Study(RAMP, Traffic(disagreement=0.07), 100, WRONG),
}


def run_chunk(name: str, chunk: int) -> list[Run]:
    """Simulate a part of a study."""
    one = STUDIES[name]
    return study(one.policy, one.traffic, one.runs // CHUNKS + (chunk < one.runs % CHUNKS), SEED + chunk)


def keeps_bar(summary: Mapping[str, Any], bar: tuple[str, float]) -> bool:
    """Return whether the ratio of an outcome is on its side of the bar; a bar above one half is a minimum."""
    outcome, limit = bar
    ratio = summary[outcome] / summary["runs"]
    return bool(ratio >= limit if limit > 0.5 else ratio <= limit)


def measure() -> dict[str, dict[str, Any]]:
    """Run all studies."""
    results = {}
    with ProcessPoolExecutor(2) as pool:
        chunks = {name: [pool.submit(run_chunk, name, chunk) for chunk in range(CHUNKS)] for name in STUDIES}
        for name, one in STUDIES.items():
            summary = summarize(chain.from_iterable(chunk.result() for chunk in chunks[name]))
            # No worse canary may pass more often than β, also where the bar is on the fails.
            kept = keeps_bar(summary, one.bar) and (one.bar == EQUAL or keeps_bar(summary, WRONG))
            results[name] = {
                "traffic": asdict(one.traffic),
                "steps": [str(step) for step in one.policy.steps],
                **summary,
                "bar": {"outcome": one.bar[0], "ratio": one.bar[1]},
                "kept": kept,
            }
            print(f"{'kept' if kept else 'MISSED'}: {name}: {describe(summary)}", flush=True)
    return results


def describe(summary: Mapping[str, Any]) -> str:
    """Return the counts in one line."""
    return ", ".join(f"{outcome} {summary[outcome]}" for outcome in ("fail", "pass", "insufficient"))


def render_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of the page."""
    lines = [
        "| canary | requests per block | rollouts | fail | pass | too little evidence | "
        "requests until 95 % of the fails | of users on the canary |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        until = [
            f"{result[key]['p95']:,.0f}" if result["fail"] else "-"
            for key in ("requests_until_fail", "canary_users_until_fail")
        ]
        counts = [f"{result[key]:,}" for key in ("runs", "fail", "pass", "insufficient")]
        per_block = f"{result['traffic']['requests']:,}"
        lines.append(f"| {' | '.join([name, per_block, *counts, *until])} |")
    return "\n".join(lines)


def write_page(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the table into the page."""
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    page = f"{head}{BEGIN}\n\n{render_table(results)}\n\n{END}{rest.split(END)[1]}"
    PAGE.write_text(page, encoding="utf-8")


def main() -> int:
    """Measure, write the document and the page's table, and return the exit code."""
    results = measure()
    of_equals = [results[name] for name, one in STUDIES.items() if one.bar == EQUAL]
    equal, false_fails = (sum(result[key] for result in of_equals) for key in ("runs", "fail"))
    document = {"equal_rollouts": equal, "false_fails": false_fails, "studies": results}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    write_page(results)
    print(f"{OUT.relative_to(ROOT)}: {false_fails} of {equal:,} rollouts of an equal canary failed")
    return 0 if all(result["kept"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

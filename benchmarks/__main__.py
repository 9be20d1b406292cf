# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks full|quick``: measure, and write the result to ``out/bench``.

The exit code is 0 if every ratio has a value, met or not, and 3 if one is inconclusive.
"""

import argparse
import os
import signal
import sys
import time
from importlib.metadata import version
from typing import Any, NoReturn

from benchmarks import environments, machine, models, ratios, report, stages, tools
from benchmarks.plan import PLANS, Plan
from benchmarks.process import Cores
from benchmarks.rounds import Bench, Results, result_row
from benchmarks.servers import SERVERS
from tidegate.errors import ExitCode, TidegateError

OUT = models.ROOT / "out" / "bench"
RESULTS = {"full": OUT / "serving.json", "quick": OUT / "quick.json"}
_TIDEGATE_PACKAGES = ("tidegate", "scikit-learn", "onnxruntime", "uvicorn", "grpcio")
_PEER_PACKAGES = {
    "kserve": ("kserve", "scikit-learn", "uvicorn"),
    "mlserver": ("mlserver", "mlserver-sklearn", "scikit-learn"),
    "bentoml": ("bentoml", "scikit-learn"),
    "starlette": ("starlette", "uvicorn", "orjson", "scikit-learn"),
}


def main() -> int:
    """Run one plan; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure Tidegate and its peers."
    )
    parser.add_argument("plan", choices=PLANS)
    plan = PLANS[parser.parse_args().plan]()
    signal.signal(signal.SIGTERM, _stop)
    try:
        result = measure(plan)
    except TidegateError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bench: stopped; no result was written", file=sys.stderr)
        return 128 + signal.SIGINT
    target = RESULTS[plan.name]
    report.write_result(target, result)
    if plan.name == "full":
        report.render(target)
    report.show(result)
    print(f"bench: {target.relative_to(models.ROOT)} after {result['seconds']:.0f} s")
    inconclusive = [key for key, ratio in result["ratios"].items() if ratio["value"] is None]
    return ExitCode.GATE_NOT_PASSED if inconclusive else ExitCode.DONE


def measure(plan: Plan) -> dict[str, Any]:
    """Prepare models and tools, run the plan, and return the whole result."""
    started_at = time.monotonic()
    logs = OUT / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    facts = machine.facts()
    cores = Cores.choose()
    installed = tools.ensure()
    trained = {
        name: models.ensure(name, OUT / "models") for name in dict.fromkeys(run.model for run in plan.runs)
    }
    # From here on this process is almost idle, and shares the core of the generator that it waits for.
    os.sched_setaffinity(0, {cores.generator})
    rounds = Bench(plan, trained, installed, cores, logs, _print_line).run()
    return {
        "plan": _plan(plan),
        "machine": facts,
        "versions": _versions(plan, dict(installed.versions)),
        "seconds": round(time.monotonic() - started_at, 1),
        "ratios": ratios.evaluate([_figures(results) for results in rounds]),
        "rows": [result_row(case, rounds) for case in plan.cases],
        "stages": stages.measure(trained),
    }


def _figures(results: Results) -> ratios.Figures:
    return {
        case: None if measurement.inconclusive is not None else measurement.figures
        for case, measurement in results.items()
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "rounds": plan.rounds,
        "warmup_seconds": plan.warmup_seconds,
        "measured_seconds": plan.measured_seconds,
        "runs": [[run.server, run.model] for run in plan.runs],
    }


def _versions(plan: Plan, generators: dict[str, str]) -> dict[str, dict[str, str]]:
    peers = {SERVERS[run.server].peer for run in plan.runs}
    return {
        "tidegate": {name: version(name) for name in _TIDEGATE_PACKAGES},
        **{
            peer: {name: environments.versions(peer)[name] for name in names}
            for peer, names in _PEER_PACKAGES.items()
            if peer in peers
        },
        "tools": generators,
    }


def _print_line(line: str) -> None:
    print(line, flush=True)


def _stop(number: int, frame: object) -> NoReturn:
    """Handle SIGTERM like Ctrl-C, so that every started process is ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

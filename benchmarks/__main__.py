# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks full|quick``: measure, and write what was seen to ``out/bench``.

The exit code is 0 when every ratio has a value, met or not, and 3 when one is void.
"""

import argparse
import json
import os
import resource
import signal
import sys
import time
from importlib.metadata import version
from typing import Any, NoReturn

from benchmarks import environments, machine, models, ratios, report, tools
from benchmarks.plan import PLANS, Plan
from benchmarks.process import Cores
from benchmarks.rounds import Bench, Results, row
from benchmarks.servers import SERVERS
from tidegate.errors import ExitCode, TidegateError

OUT = models.ROOT / "out" / "bench"
RESULTS = {"full": OUT / "serving.json", "quick": OUT / "quick.json"}
_FILES = 8_192
_OURS = ("tidegate", "scikit-learn", "onnxruntime", "uvicorn", "grpcio")
_THEIRS = {
    "kserve": ("kserve", "scikit-learn", "uvicorn"),
    "mlserver": ("mlserver", "mlserver-sklearn", "scikit-learn"),
    "bentoml": ("bentoml", "scikit-learn"),
    "starlette": ("starlette", "uvicorn", "orjson", "scikit-learn"),
}


def main() -> int:
    """Run one plan; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure Tidegate beside others."
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
        print("bench: stopped; nothing was written", file=sys.stderr)
        return 128 + signal.SIGINT
    target = RESULTS[plan.name]
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.rename(target)
    if plan.name == "full":
        report.render(target)
    report.show(result)
    print(f"bench: {target.relative_to(models.ROOT)} after {result['seconds']:.0f} s")
    void = [key for key, ratio in result["ratios"].items() if ratio["value"] is None]
    return ExitCode.GATE_NOT_PASSED if void else ExitCode.DONE


def measure(plan: Plan) -> dict[str, Any]:
    """Make ready what the plan needs, run it, and return the whole result."""
    began = time.monotonic()
    logs = OUT / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    # The overload has thousands of connections, and each is a file on both sides.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))
    facts = machine.facts()
    cores = Cores.choose()
    found = tools.ensure()
    trained = {
        name: models.ensure(name, OUT / "models") for name in dict.fromkeys(v.model for v in plan.visits)
    }
    # From here on this process does next to nothing, and where the generator waits anyway.
    os.sched_setaffinity(0, {cores.generator})
    rounds = Bench(plan, trained, found, cores, logs, _say).run()
    return {
        "plan": _plan(plan),
        "machine": facts,
        "versions": _versions(plan, dict(found.versions)),
        "seconds": round(time.monotonic() - began, 1),
        "ratios": ratios.evaluate([_figures(results) for results in rounds]),
        "rows": [row(case, rounds) for case in plan.cases],
    }


def _figures(results: Results) -> ratios.Figures:
    return {case: None if seen.void is not None else seen.figures for case, seen in results.items()}


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "rounds": plan.rounds,
        "warmup_seconds": plan.warmup,
        "seconds": plan.seconds,
        "visits": [[visit.server, visit.model] for visit in plan.visits],
    }


def _versions(plan: Plan, generators: dict[str, str]) -> dict[str, dict[str, str]]:
    peers = {SERVERS[visit.server].peer for visit in plan.visits}
    return {
        "tidegate": {name: version(name) for name in _OURS},
        **{
            peer: {name: environments.versions(peer)[name] for name in names}
            for peer, names in _THEIRS.items()
            if peer in peers
        },
        "tools": generators,
    }


def _say(line: str) -> None:
    print(line, flush=True)


def _stop(number: int, frame: object) -> NoReturn:
    """On SIGTERM leave as on Ctrl-C, through everything that ends what was started."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

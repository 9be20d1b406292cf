# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the capacity of three models three times each, and compare the repeats.

``python -m tests.capacity_repeats [MODEL ...]`` writes ``out/loadtest/capacity.json``. It exits with 1 if a
repeat is inconclusive, or if its capacity or its safe rate differs by more than 10 % from the median of the
repeats. It needs a machine without other load.

One model's calls have a fixed duration. Its capacity does not depend on the machine, and is known: if it
differs by more than 10 % from the measured one, the program exits with 1 too.

The other two are real. The speed of a virtual machine can change by a third within minutes, and a search
takes minutes. So their repeats send their windows in turn, and the rates are relative: before each window, a
closed loop measures the throughput, and the window's rate rises and falls with it. That removes the machine's
slow changes only: between closed loops two seconds apart, the throughput differed by 16 % (one standard
deviation) on a virtual machine with two CPUs.
"""

import json
import math
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.fixed_duration import MAX_ROW_RATE, TRUSTED_TYPE, bundle_fixed_duration
from tidegate import cli
from tidegate_loadtests.capacity import replica
from tidegate_loadtests.capacity.generator import Arrivals
from tidegate_loadtests.capacity.measurement import WindowResult

ROOT = Path(__file__).parents[1]
OUT = ROOT / "out" / "loadtest"
REPEATS = 3
MAX_DIFFERENCE = 0.10
TIDEGATE = Path(sys.executable).with_name("tidegate")
TIMEOUT_SECONDS = 60.0
STDOUT, STDERR = "stdout.json", "stderr.log"


@dataclass(frozen=True)
class Model:
    """A model with the options of its measurement.

    Args:
        make_bundle: Writes the bundle to a directory.
        options: The options of ``tidegate loadtest capacity``.
        unit: The unit of throughput: a rate in the results is that at which the closed loop has this many
            responses per second. None for absolute rates.
        expected: The capacity in requests per second; None if it is unknown.
    """

    make_bundle: Callable[[Path], object]
    options: Sequence[str]
    unit: float | None = None
    expected: float | None = None


def _train(config: str, directory: Path) -> None:
    subprocess.run([TIDEGATE, "train", config, "--out", directory], cwd=ROOT, check=True)


MODELS = {
    "fixed-duration": Model(
        bundle_fixed_duration,
        ["--threshold-p99-ms", "200", "--rows-per-request", "10"],
        expected=MAX_ROW_RATE / 10,
    ),
    # With fewer rows, the load generator needs more CPU than the model.
    "breast-cancer": Model(
        partial(_train, "examples/breast-cancer/train.yaml"),
        ["--threshold-p99-ms", "20", "--engine", "onnx", "--rows-per-request", "50"],
        unit=10_000.0,
    ),
    "forest": Model(
        partial(_train, "benchmarks/models/rf.yaml"),
        ["--threshold-p99-ms", "200", "--engine", "sklearn", "--rows-per-request", "10"],
        unit=5_000.0,
    ),
}
LOOP_CLIENTS, LOOP_SECONDS = 64, 1.0
"""The closed loop: its clients, and its duration at the unit of throughput."""


def measure(name: str) -> dict[str, Any]:
    """Measure a model by repeats in turn, and return them with their largest difference."""
    model = MODELS[name]
    folder = OUT / "capacity" / name
    bundle = folder / "bundle"
    if not bundle.exists():
        model.make_bundle(bundle)
    context = multiprocessing.get_context("spawn")
    processes, connections = [], []
    for number in range(REPEATS):
        ours, theirs = context.Pipe()
        arguments = ["--bundle", str(bundle), "--peak", "10000", "--seed", str(number)]
        arguments += model.options
        process = context.Process(target=_repeat, args=(theirs, folder / str(number), arguments, model.unit))
        process.start()
        theirs.close()
        processes.append(process)
        connections.append(ours)
    take_turns(connections)
    repeats: list[dict[str, Any]] = []
    for number, process in enumerate(processes):
        process.join()
        out = folder / str(number)
        last_line = (out / STDERR).read_text().strip().rpartition("\n")[2]
        print(f"{name}, repeat {number + 1}: exit code {process.exitcode}; {last_line}", flush=True)
        repeats.append(
            json.loads((out / STDOUT).read_text())
            if process.exitcode == 0
            else {"safe_rate": None, "inconclusive_reason": last_line, "files": str(out.relative_to(ROOT))}
        )
    return compare(repeats, model.expected)


def take_turns(connections: Sequence[Connection]) -> None:
    """Let one process after the other run, until all have ended.

    Args:
        connections: A process receives a message at the start of each turn, and sends one at its end.
    """
    running = list(connections)
    while running:
        for connection in list(running):
            try:
                connection.send(None)
                connection.recv()
            except (EOFError, OSError):  # the process has ended
                running.remove(connection)


def relative(result: WindowResult, rate: float, speed: float) -> WindowResult:
    """Return a window with its relative rate, and with what is compared with or divided by the rate.

    Args:
        result: The window at `rate * speed` requests per second.
        rate: The relative rate.
        speed: The machine's throughput in the unit of throughput.
    """
    # Rounded up like the limit of the window itself, so that no limit becomes too small by the division.
    connections = math.ceil(result.window.connections / speed)
    window = replace(result.window, rate=rate, connections=connections)
    return replace(result, window=window, seconds=result.seconds * speed)


def _repeat(connection: Connection, folder: Path, arguments: Sequence[str], unit: float | None) -> None:
    """Run ``tidegate loadtest capacity``, with a turn for its start and one for each load."""

    def next_turn() -> None:
        connection.send(None)
        connection.recv()

    class ReplicaInTurn(replica.LiveReplica):
        def probe(self, requests: int, seconds: float) -> NDArray[np.float64]:
            next_turn()
            return super().probe(requests, seconds)

        def run_window(self, rate: float, seconds: float) -> WindowResult:
            next_turn()
            if unit is None:
                return super().run_window(rate, seconds)
            speed = self._throughput(unit) / unit
            return relative(super().run_window(rate * speed, seconds), rate, speed)

        def _throughput(self, unit: float) -> float:
            count = round(unit * LOOP_SECONDS)
            sent = self._generator.send(Arrivals(np.zeros(count), TIMEOUT_SECONDS, LOOP_CLIENTS))
            return count / float(sent.completed.max())

    replica.LiveReplica = ReplicaInTurn  # type: ignore[misc]
    folder.mkdir(parents=True, exist_ok=True)
    for name, stream in ((STDOUT, sys.stdout), (STDERR, sys.stderr)):
        with (folder / name).open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.argv = ["tidegate", "loadtest", "capacity", "--out", str(folder), "--output", "json", *arguments]
    os.environ["TIDEGATE_TRUSTED_TYPE"] = TRUSTED_TYPE
    connection.recv()
    cli.main()


def compare(repeats: Sequence[Mapping[str, Any]], expected: float | None = None) -> dict[str, Any]:
    """Return the repeats with the largest relative difference of each rate from its median.

    With an expected capacity, return the largest relative difference from it too.

    >>> repeats = [{"capacity_rate": {"median": 100.0}, "safe_rate": rate} for rate in (80.0, 90.0, 90.0)]
    >>> compare(repeats)
    {'passed': False, 'max_differences': {'capacity_rate': 0.0, 'safe_rate': 0.111...}, 'repeats': ...}
    >>> compare(repeats[1:])["passed"], compare([*repeats, {"safe_rate": None}])["max_differences"]
    (True, None)
    >>> compare(repeats[1:], 120.0)["max_differences"]
    {'capacity_rate': 0.0, 'safe_rate': 0.0, 'expected_rate': 0.166...}
    """
    differences = None
    if all(one["safe_rate"] is not None for one in repeats):
        capacities = [one["capacity_rate"]["median"] for one in repeats]
        safe_rates = [one["safe_rate"] for one in repeats]
        differences = {
            "capacity_rate": _max_difference(capacities, median(capacities)),
            "safe_rate": _max_difference(safe_rates, median(safe_rates)),
        }
        if expected is not None:
            differences["expected_rate"] = _max_difference(capacities, expected)
    return {
        "passed": differences is not None and max(differences.values()) <= MAX_DIFFERENCE,
        "max_differences": differences,
        "repeats": repeats,
    }


def _max_difference(rates: Sequence[float], reference: float) -> float:
    return max(abs(rate / reference - 1) for rate in rates)


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

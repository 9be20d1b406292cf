# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Cost by size: ``python -m benchmarks.columns`` measures seconds and memory of training and of serving.

All figures are in ``out/bench/columns.json``, and ``docs/columns.md`` is rendered from it. The data is drawn
from a fixed seed. Each process runs alone on one core.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import client, machine, models, tools, wrk
from benchmarks.case import Protocol
from benchmarks.columns_figures import (
    FOREST,
    NOISE,
    RUNS,
    TREES,
    Data,
    ServerCost,
    TrainingCost,
    memory_figures,
    start_figures,
    training_figures,
)
from benchmarks.process import (
    WITH_BYTECODE,
    Cores,
    ServerProcess,
    pinned,
    run_generator,
    start_server,
)
from benchmarks.report import DOCS, environment
from benchmarks.requests import build_request
from benchmarks.servers import HOST, PATHS, SERVERS, Launch, free_ports
from benchmarks.target import format_met, format_target, format_value
from tidegate.bundle import ONNX, SKOPS, open_bundle
from tidegate.errors import ExitCode, ServerError, TidegateError
from tidegate.memory import COMPILED, SCIKIT_LEARN, memory_limit

RESULT = models.ROOT / "out" / "bench" / "columns.json"

_LOAD_SECONDS = 2
_CONFIG = """
task: classification
target: target
data: {path: data.csv}
preprocessing: {numeric: {scale: standard}}
"""


def write_data(folder: Path, data: Data, seed: int = 0) -> None:
    """Write ``data.csv``: numbers, texts of three categories, and a target that depends on two numbers.

    Args:
        folder: The folder.
        data: The number of rows and columns.
        seed: The seed of all values.
    """
    random = np.random.default_rng(seed)
    names = [f"number{index}" for index in range(data.numbers)]
    names += [f"text{index}" for index in range(data.texts)]
    with (folder / "data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "target"])
        for _ in range(data.rows):
            numbers = random.normal(size=data.numbers)
            texts = random.integers(3, size=data.texts)
            target = int(numbers[0] + numbers[1] + random.normal() > 0)
            writer.writerow([*(f"{number:.6g}" for number in numbers), *("abc"[i] for i in texts), target])


def train(folder: Path, data: Data, algorithm: Mapping[str, Any], core: int) -> TrainingCost:
    """Train a model in a process of its own, and measure the process.

    Args:
        folder: An empty folder for data and bundle.
        data: The data's size.
        algorithm: The section ``algorithm`` of the configuration.
        core: The core of the process.

    Raises:
        ServerError: If training fails.
    """
    write_data(folder, data)
    config, log = folder / "train.yaml", folder / "train.log"
    config.write_text(f"name: columns\nalgorithm: {json.dumps(algorithm)}{_CONFIG}")
    command: list[str | Path] = [
        Path(sys.executable).with_name("tidegate"),
        "train",
        config,
        "--out",
        folder / "bundle",
    ]
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned(core, command), env=os.environ | WITH_BYTECODE, stdout=output, stderr=subprocess.STDOUT
        )
        # The usage of this process alone; resource.getrusage has the largest of all children.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    if process.returncode != 0:
        raise ServerError(f"{data} cannot be trained: {log.read_text().strip().splitlines()[-1]}")
    compiled = ONNX in open_bundle(folder / "bundle")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return TrainingCost(data, algorithm["name"], seconds, cpu_seconds, 1024 * usage.ru_maxrss, compiled)


@contextmanager
def _running(
    name: str, bundle: Path, installed: tools.Tools, cores: Cores
) -> Iterator[tuple[Launch, ServerProcess]]:
    """Start a server of a bundle and wait until it is ready."""
    server = SERVERS[name]
    # Only peers read the pickle.
    model = models.Model(open_bundle(bundle), bundle / "model.joblib")
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        launch = Launch(model, *free_ports(), Path(folder), installed)
        command = server.command(launch)
        log = RESULT.parent / "logs" / f"columns-{name}.log"
        with start_server(command.argv, cores.server, command.environment, log, command.folder) as process:
            client.wait_until_ready(server, launch, process)
            yield launch, process


def measure_server(
    name: str, model: str, bundle: Path, installed: tools.Tools, cores: Cores
) -> tuple[ServerCost, float]:
    """Measure a server's CPU and memory until it is ready, then the CPU of requests with one row.

    Args:
        name: One of ``servers.SERVERS``.
        model: The model in words.
        bundle: The bundle's folder.
        installed: The load generators.
        cores: The cores of server and generator.

    Returns:
        The cost of the start, and CPU milliseconds per request.

    Raises:
        ServerError: If a response is an error.
    """
    with _running(name, bundle, installed, cores) as (launch, process):
        before = process.usage().cpu_s
        status = Path(f"/proc/{process.process.pid}/status").read_text()
        request = build_request(launch.model.bundle.contract, Protocol.V1, 1)
        body = launch.folder / "request"
        body.write_bytes(request.body)
        url = f"http://{HOST}:{launch.port}" + PATHS[Protocol.V1].format(name=launch.model_name)
        argv = wrk.command(installed.wrk, url, body, request.headers, 1, _LOAD_SECONDS)
        report = wrk.parse(run_generator(argv, cores.generator, _LOAD_SECONDS + 30).output)
        if report.error_responses or report.failures:
            raise ServerError(f"{model}: {report.error_responses + report.failures} requests failed")
        milliseconds = 1e3 * (process.usage().cpu_s - before) / report.responses
    compiled = name == "tidegate"
    manifest = launch.model.bundle.manifest
    return ServerCost(
        name,
        model,
        manifest.files[ONNX if compiled else SKOPS].size,
        _bytes(status, "VmRSS"),
        _bytes(status, "VmHWM"),
        memory_limit(manifest, compiled=compiled),
        before,
    ), milliseconds


def _bytes(status: str, field: str) -> int:
    """Parse a size in the text of ``/proc/<pid>/status``."""
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


def measure() -> dict[str, Any]:
    """Run all measurements and return the result."""
    facts, cores, installed = machine.facts(), Cores.choose(), tools.ensure()
    (RESULT.parent / "logs").mkdir(parents=True, exist_ok=True)
    trainings, servers = [], []
    for data, algorithm in RUNS:
        with _folder() as folder:
            cost = train(folder, data, {"name": algorithm}, cores.server)
            words = f"{algorithm}, {data}"
            server, request_ms = measure_server("tidegate", words, folder / "bundle", installed, cores)
        trainings.append(replace(cost, request_ms=request_ms))
        servers.append(server)
        print(f"columns: {trainings[-1]}", flush=True)
    for trees in TREES:
        forest = {"name": "RandomForestClassifier", "parameters": {"n_estimators": trees}}
        with _folder() as folder:
            train(folder, FOREST, forest, cores.server)
            for name in ("tidegate", "tidegate-sklearn"):
                words = f"forest of {trees} trees"
                servers.append(measure_server(name, words, folder / "bundle", installed, cores)[0])
                print(f"columns: {servers[-1]}", flush=True)
    figures = [*training_figures(trainings), *memory_figures(servers), *start_figures(servers)]
    return {
        "machine": facts,
        "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
        "trainings": [asdict(cost) | {"data": str(cost.data)} for cost in trainings],
        "servers": [asdict(server) for server in servers],
    }


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        yield Path(folder)


def page(result: Mapping[str, Any]) -> str:
    """Render the page's text."""
    return (
        environment()
        .get_template("columns.md.j2")
        .render(result=result, servers=SERVERS, compiled=COMPILED, scikit_learn=SCIKIT_LEARN, noise=NOISE)
    )


def show(figures: Sequence[Mapping[str, Any]]) -> None:
    """Print the figures."""
    table = Table("figure", "value", "target", "met", box=None, pad_edge=False)
    for figure in figures:
        table.add_row(figure["meaning"], format_value(figure), format_target(figure), format_met(figure))
    Console(highlight=False).print(table)


def main() -> int:
    """Measure, write the result and its page, and return the exit code."""
    try:
        result = measure()
    except TidegateError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    (DOCS / "columns.md").write_text(page(result))
    show(result["figures"])
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The autoscaler's signals against the load: ``python -m benchmarks.signals``.

A closed loop measures the ceiling of the server, as requests per CPU second at saturation. Then Poisson loads
at fractions of it show which signal follows the load: the gauge of requests in flight, the rate of the
duration's sum, or the CPU. All columns come from one run, so a busy machine changes all of them.

The result is ``out/bench/signals.json``, and ``docs/autoscaling-signals.md`` is rendered from it.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from kubernetes.utils import parse_quantity
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import machine, models, wrk
from benchmarks.report import DOCS, environment, write_result
from tests.support.servers import LiveServer, serving
from tidegate.protocol.requests import v1_body
from tidegate.protocol.samples import sample_rows

SCRAPES = 100
SCRAPE_SECONDS = 0.1
WINDOW_SECONDS = 15.0
"""The window of the gauge of requests in flight, from docs/monitoring.md."""
WARMUP_SECONDS = WINDOW_SECONDS + 3.0
CEILING_SECONDS = 5
CONNECTIONS = 64
OUT = models.ROOT / "out" / "bench"
CHART_VALUES = models.ROOT / "helm" / "tidegate" / "values.yaml"


@dataclass(frozen=True, slots=True)
class Row:
    """The signals under one load."""

    engine: str
    rate: float
    fraction_of_ceiling: float
    zeros: float
    gauge_mean: float
    duration_rate: float
    loop_wait_rate: float
    cpu: float
    engine_busy: float
    mean_batch: float


def _scrape(server: LiveServer) -> dict[str, float]:
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.http}/metrics").text):
        for sample in family.samples:
            values[sample.name] = values.get(sample.name, 0.0) + sample.value
    return values | {"time": time.perf_counter()}


def _rates(first: Mapping[str, float], last: Mapping[str, float]) -> dict[str, float]:
    seconds = last["time"] - first["time"]
    return {name: (last[name] - first[name]) / seconds for name in first}


def _measure(server: LiveServer, body: Path, engine: str, rate: float, ceiling: float) -> Row:
    url = f"{server.http}/v1/models/{server.name}:predict"
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.openloop", url, body]
    seconds = str(WARMUP_SECONDS + SCRAPES)  # long enough; the load ends with the last scrape
    command += ["--rate", str(rate), "--warmup", "0", "--seconds", seconds, "--connections", "256"]
    load = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(WARMUP_SECONDS - WINDOW_SECONDS)
        first = _scrape(server)  # the start of the first gauge's window
        time.sleep(WINDOW_SECONDS)
        scrapes = []
        for _ in range(SCRAPES):
            scrapes.append(_scrape(server))
            time.sleep(SCRAPE_SECONDS)
    finally:
        load.terminate()
        load.wait()
    gauge = np.array([scrape["tidegate_requests_in_flight"] for scrape in scrapes])
    rates = _rates(first, scrapes[-1])
    measured = rates["tidegate_requests_total"]
    return Row(
        engine,
        measured,
        measured / ceiling,
        float((gauge == 0).mean()),
        float(gauge.mean()),
        rates["tidegate_request_duration_seconds_sum"],
        rates["tidegate_loop_wait_seconds_total"],
        rates["process_cpu_seconds_total"],
        rates["tidegate_engine_busy_seconds_total"],
        rates["tidegate_batch_size_rows_sum"] / rates["tidegate_batch_size_rows_count"],
    )


def measure(engine: str, model: str, fractions: list[float], folder: Path) -> Iterator[Row]:
    """Yield the signals of one engine at fractions of its ceiling.

    Args:
        engine: The server's option.
        model: One of ``models.NAMES``.
        fractions: The loads.
        folder: The folder of the models and of the server's log.
    """
    bundle = models.ensure(model, folder).bundle
    with serving(bundle, folder / f"{engine}.log", "--engine", engine) as server:
        body = folder / "body.json"
        body.write_bytes(v1_body(bundle.contract, sample_rows(bundle.contract, 1, 0)))
        url = f"{server.http}/v1/models/{server.name}:predict"
        command = wrk.command(Path("wrk"), url, body, {}, CONNECTIONS, CEILING_SECONDS)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        before = _scrape(server)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rates = _rates(before, _scrape(server))
        ceiling = rates["tidegate_requests_total"] / rates["process_cpu_seconds_total"]
        for fraction in fractions:
            yield _measure(server, body, engine, fraction * ceiling, ceiling)


def fraction_at_cpu(rows: Sequence[Row], cores: float) -> float | None:
    """Return the fraction of the ceiling at which the CPU use reaches a number of cores.

    The CPU use is taken as linear between two loads, and from none without load.

    Args:
        rows: The signals by ascending load.
        cores: The CPU use.

    Returns:
        None if no load reaches it.
    """
    cpu = [0.0, *(row.cpu for row in rows)]
    if cores > max(cpu):
        return None
    index = next(index for index, value in enumerate(cpu) if value >= cores)
    fractions = [0.0, *(row.fraction_of_ceiling for row in rows)]
    return float(np.interp(cores, cpu[index - 1 : index + 1], fractions[index - 1 : index + 1]))


def default_cpu_target(values: Mapping[str, Any]) -> float:
    """Return the CPU use of a replica, in cores, above which the chart's values scale."""
    request = parse_quantity(values["resources"]["requests"]["cpu"])
    return float(request) * float(values["autoscaling"]["targetCPUUtilization"]) / 100


def page(result: Mapping[str, Any]) -> str:
    """Render the page's text."""
    return environment().get_template("autoscaling-signals.md.j2").render(result=result)


def main() -> None:
    """Print one line per load, and write the result and its page."""
    parser = argparse.ArgumentParser(prog="benchmarks.signals")
    parser.add_argument("--model", default="lr", choices=models.NAMES)
    parser.add_argument("--engine", default="onnx", choices=["onnx", "sklearn"])
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.3, 0.5])
    options = parser.parse_args()
    print(*(field.name for field in fields(Row)), sep="\t", flush=True)
    folder = OUT / "models"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in measure(options.engine, options.model, sorted(options.fractions), folder):
        rows.append(row)
        values = (value if isinstance(value, str) else f"{value:.3g}" for value in astuple(row))
        print(*values, sep="\t", flush=True)
    target = default_cpu_target(yaml.safe_load(CHART_VALUES.read_text()))
    result = {
        "machine": machine.facts(),
        "model": options.model,
        "engine": options.engine,
        "cpu_target": target,
        "fraction_at_cpu_target": fraction_at_cpu(rows, target),
        "rows": [asdict(row) for row in rows],
    }
    write_result(OUT / "signals.json", result)
    (DOCS / "autoscaling-signals.md").write_text(page(result))


if __name__ == "__main__":
    main()

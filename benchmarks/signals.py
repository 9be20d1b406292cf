# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The autoscaler's signals against the load: ``python -m benchmarks.signals``.

A closed loop measures the ceiling of the server, as requests per CPU second at saturation. Then Poisson loads
at fractions of it show which signal follows the load: the gauge of requests in flight, the rate of the
duration's sum, or the CPU. All columns come from one run, so a busy machine changes all of them.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import models, wrk
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
OUT = models.ROOT / "out" / "bench" / "models"


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


def main() -> None:
    """Print one line per load."""
    parser = argparse.ArgumentParser(prog="benchmarks.signals")
    parser.add_argument("--model", default="lr", choices=models.NAMES)
    parser.add_argument("--engine", default="onnx", choices=["onnx", "sklearn"])
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.3, 0.5])
    options = parser.parse_args()
    print(*(field.name for field in fields(Row)), sep="\t", flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    for row in measure(options.engine, options.model, options.fractions, OUT):
        values = (value if isinstance(value, str) else f"{value:.3g}" for value in astuple(row))
        print(*values, sep="\t", flush=True)


if __name__ == "__main__":
    main()

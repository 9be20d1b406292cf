# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The open loop of a benchmark: a process of its own, on the generator's core.

``python -m benchmarks.openloop`` prints the figures of one measurement as JSON, with its own send delay and
CPU use.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from tidegate.protocol.openloop import OpenLoopClient, Outcome, request_bytes
from tidegate.schedule import poisson_arrivals
from tidegate.stats import percentile


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a measurement.

    Args:
        offered: Scheduled requests per second.
        rps: Responses with status 200 per second.
        rejected: Requests with status 429 or 503.
        failed: Requests with another status, or without a response.
        p50_ms: Median latency of status 200, from the intended start; None if there are none.
        p99_ms: 99th percentile of the same.
        send_delay_ms: 99th percentile of the generator's own delay.
        generator_cpu: Used fraction of the generator's core, 0 to 1.
    """

    offered: float
    rps: float
    rejected: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    send_delay_ms: float
    generator_cpu: float


def summarize(
    outcomes: Sequence[Outcome], send_delays: Sequence[float], seconds: float, cpu: float
) -> Summary:
    """Summarize the requests whose intended start is in the measurement.

    Args:
        outcomes: All requests; those of the warm-up have an intended start below 0.
        send_delays: The generator's delay per request in seconds, in the same order.
        seconds: Duration of the measurement.
        cpu: CPU seconds of the generator in the measurement.
    """
    measured = [outcome for outcome in outcomes if outcome.intended_start >= 0]
    completions = [
        (o.intended_start, o.completed) for o in outcomes if o.status == 200 and o.completed is not None
    ]
    latencies_ms = [(completed - start) * 1e3 for start, completed in completions if start >= 0]
    rejected = sum(outcome.status in (429, 503) for outcome in measured)
    # A backlog from the warm-up completes in the measurement, and the measurement's after it: the rate of
    # completions is the throughput.
    completed_in_time = sum(0 <= completed < seconds for _, completed in completions)
    delays_ms = [
        d * 1e3 for outcome, d in zip(outcomes, send_delays, strict=True) if outcome.intended_start >= 0
    ]
    return Summary(
        len(measured) / seconds,
        completed_in_time / seconds,
        rejected,
        len(measured) - len(latencies_ms) - rejected,
        percentile(latencies_ms, 50),
        percentile(latencies_ms, 99),
        percentile(delays_ms, 99) or 0.0,
        cpu / seconds,
    )


def main() -> None:
    """Run one open loop and print its summary as JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.openloop")
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--warmup", type=float, required=True, help="seconds before the measurement")
    parser.add_argument("--seconds", type=float, required=True, help="duration of the measurement")
    parser.add_argument("--connections", type=int, required=True, help="limit of requests in flight")
    parser.add_argument("--seed", type=int, default=0, help="seed of the schedule")
    options = parser.parse_args()
    parts = urlsplit(options.url)
    generator = OpenLoopClient(
        (parts.hostname or "", parts.port or 80),
        [request_bytes(options.url, options.body.read_bytes())],
        options.connections,
    )
    count = round(options.rate * (options.warmup + options.seconds))
    source = np.random.default_rng(options.seed)
    starts = poisson_arrivals(count, -options.warmup, options.seconds, source).tolist()
    outcomes, delays, cpu = generator.run(starts, options.seconds)
    generator.close()
    json.dump(asdict(summarize(outcomes, delays, options.seconds, cpu)), sys.stdout)


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Write and summarise the samples of two hours at 2,000 requests per second, and print time and memory.

``python -m tests.campaign_memory [SECONDS]``. The unit tests hold the same property for a shorter campaign.
``python -m tests.support.simulated_master 7200 2000`` does the same with the messages of a master's workers.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.support.campaigns import make_campaign, make_phase
from tests.support.samples import make_samples
from tidegate_loadtests.samples import Samples, SampleWriter, read_samples
from tidegate_loadtests.summary import summarise

RATE = 2000


def simulate(seconds: int) -> Iterator[Samples]:
    """Yield the samples of each second: latencies with a long tail, and a long error per thousand."""
    source = np.random.default_rng(0)
    errors = ["status 503: " + "overloaded " * 200] * (RATE // 1000) + [""] * (RATE - RATE // 1000)
    for second in range(seconds):
        starts = second + np.arange(RATE) / RATE
        yield make_samples(starts, completed=starts + source.lognormal(-5, 0.7, RATE), error=errors)


def peak_megabytes() -> float:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Write the samples, summarise them from the file, and print time and memory of both."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 7200
    campaign = make_campaign(make_phase(rate=RATE, duration=seconds, thresholds={"max_p99_ms": 50}))
    print(f"{'imports':12}{'':>12}{peak_megabytes():8.0f} MB at most")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.parquet"
        begin = time.perf_counter()
        with SampleWriter(path) as writer:
            for samples in simulate(seconds):
                writer.write(samples)
        elapsed, size = time.perf_counter() - begin, path.stat().st_size / 2**20
        print(f"{'write':12}{elapsed:10.1f} s{peak_megabytes():8.0f} MB at most, file of {size:.0f} MB")
        begin = time.perf_counter()
        summary = summarise(campaign, read_samples(path))
        elapsed = time.perf_counter() - begin
    print(f"{'summarise':12}{elapsed:10.1f} s{peak_megabytes():8.0f} MB at most")
    judged = summary.judged
    print(f"{judged.requests:,} requests, {judged.failures:,} failures, p99 {judged.latency.p99_ms:.1f} ms")


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import re

import pytest

from tests.unit.loadtests.test_summary import make_samples
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.plots import plot_distribution, plot_latency, plot_throughput
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.time_series import compute_time_series

PLAN = LoadTest(rate=10, connections=2, duration=5, warmup=1, thresholds={"max_p50_ms": 100})
STARTS = [-0.5, *(index / 10 for index in range(50))]


def draw(samples: Samples) -> list[str]:
    series = compute_time_series(samples, PLAN.duration, PLAN.warmup)
    return [plot_throughput(series, PLAN), plot_latency(series, PLAN), plot_distribution(samples)]


def test_plots_take_their_colours_from_the_page() -> None:
    drawings = "".join(draw(make_samples(STARTS)))
    assert "var(--blue)" in drawings
    assert set(re.findall(r"#0\d0\d0\d\b", drawings)) == set()


@pytest.mark.parametrize("samples", [make_samples([]), make_samples(STARTS, error=["failed"] * len(STARTS))])
def test_plots_without_successful_responses_are_drawn(samples: Samples) -> None:
    for drawing in draw(samples):
        assert drawing.startswith("<svg")
        assert drawing.rstrip().endswith("</svg>")


def test_plots_mark_thresholds_and_failures() -> None:
    throughput, latency, _ = draw(make_samples(STARTS, error=["", "no response"] + [""] * 49))
    assert "failures" in throughput
    assert "intended rate" in throughput
    assert "p50 threshold" in latency

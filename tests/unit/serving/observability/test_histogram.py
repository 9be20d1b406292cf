# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily

from tidegate_serving.observability.histogram import BUFFER_SIZE, BufferedHistogram, Histogram

BOUNDS = (1.0, 2.0, 5.0)
VALUES = st.lists(st.floats(0, 10) | st.sampled_from(BOUNDS), max_size=3 * BUFFER_SIZE)


def exposed(histogram: Histogram) -> dict[str, float]:
    """Return the samples by name and bound."""
    family = HistogramMetricFamily("h", "A histogram.", labels=["x"])
    histogram.expose(family, ["y"])
    assert all(sample.labels["x"] == "y" for sample in family.samples)
    return {sample.name + sample.labels.get("le", ""): sample.value for sample in family.samples}


def prometheus_samples(values: list[float]) -> dict[str, float]:
    """Return the samples of prometheus_client's own histogram."""
    registry = CollectorRegistry()
    reference = prometheus_client.Histogram("h", "A histogram.", ["x"], buckets=BOUNDS, registry=registry)
    labelled = reference.labels("y")
    for value in values:
        labelled.observe(value)
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(VALUES)
def test_histogram_add_equals_prometheus_client(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.add(value)
    assert exposed(histogram) == pytest.approx(prometheus_samples(values))


def test_histogram_add_several_times_equals_repeated_add() -> None:
    histogram, repeated = Histogram(BOUNDS), Histogram(BOUNDS)
    histogram.add(1.5, 3)
    for _ in range(3):
        repeated.add(1.5)
    assert exposed(histogram) == exposed(repeated)


@given(VALUES.filter(bool))
def test_histogram_add_descending_equals_single_adds(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    histogram.add_descending(sorted(values, reverse=True))
    assert exposed(histogram) == pytest.approx(prometheus_samples(values))


def test_histogram_add_descending_needs_order_of_ends_only() -> None:
    histogram = Histogram(BOUNDS)
    histogram.add_descending([9.0, 1.5, 4.0, 0.5])
    assert exposed(histogram) == prometheus_samples([9.0, 1.5, 4.0, 0.5])


@given(VALUES)
def test_buffered_histogram_after_flush_equals_histogram(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    buffered = BufferedHistogram(histogram)
    for value in values:
        buffered.add(value)
    assert buffered.count == len(values)
    buffered.flush()
    assert buffered.count == len(values)
    assert exposed(histogram) == pytest.approx(prometheus_samples(values))


def test_buffered_histogram_flushes_a_full_buffer() -> None:
    histogram = Histogram(BOUNDS)
    buffered = BufferedHistogram(histogram)
    for _ in range(BUFFER_SIZE - 1):
        buffered.add(1.0)
    assert exposed(histogram)["h_count"] == 0
    buffered.add(1.0)
    assert exposed(histogram)["h_count"] == BUFFER_SIZE


def test_buffered_histograms_share_one_histogram() -> None:
    histogram = Histogram(BOUNDS)
    first, second = BufferedHistogram(histogram), BufferedHistogram(histogram)
    first.add(1.0)
    second.add(2.0)
    second.add(3.0)
    first.flush()
    second.flush()
    assert (first.count, second.count) == (1, 2)
    assert exposed(histogram) == prometheus_samples([1.0, 2.0, 3.0])

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from itertools import chain

import pytest
from prometheus_client import CollectorRegistry, Histogram

from tests.support.fakes import FakeClock
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.observability.in_flight import WINDOW_SECONDS
from tidegate_serving.observability.metrics import BATCH_SIZE_BUCKETS, STAGES, Metrics
from tidegate_serving.observability.request_metrics import DURATION_BUCKETS, RESPONSE_CODES


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics(registry: CollectorRegistry, clock: FakeClock) -> Metrics:
    return Metrics(registry, "m", clock=clock)


def samples(registry: CollectorRegistry, prefix: str) -> dict[tuple[str, ...], float]:
    """Return the values of one scrape by sample name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith(prefix) and not sample.name.endswith("_created")
    }


def test_first_scrape_has_every_known_label_set(registry: CollectorRegistry, metrics: Metrics) -> None:
    requests = samples(registry, "tidegate_requests_total")
    assert set(requests) == {
        ("tidegate_requests_total", protocol, code)
        for protocol, codes in RESPONSE_CODES.items()
        for code in codes
    }
    rejections = samples(registry, "tidegate_requests_rejected_total")
    assert set(rejections) == {("tidegate_requests_rejected_total", code.reason) for code in ErrorCode}
    durations = samples(registry, "tidegate_request_duration_seconds_count")
    assert {labels[1] for labels in durations} == set(RESPONSE_CODES)
    assert not any(chain(requests.values(), rejections.values(), durations.values()))


def test_first_scrape_has_every_error_code(registry: CollectorRegistry, metrics: Metrics) -> None:
    for code in ErrorCode:
        assert str(code.http_status) in RESPONSE_CODES["v1"]
        assert str(code.http_status) in RESPONSE_CODES["v2"]
        assert code.grpc_status in RESPONSE_CODES["grpc"]


def test_request_code_of_a_framework_gets_a_series(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.in_flight.start(1.0)
    metrics.record_response("v1", "418", 1, 1.0)
    assert samples(registry, "tidegate_requests_total")["tidegate_requests_total", "v1", "418"] == 1


def test_request_is_in_flight_until_its_response(
    registry: CollectorRegistry, metrics: Metrics, clock: FakeClock
) -> None:
    with metrics.track_request("v1") as record:
        assert metrics.in_flight.count == 1
        clock.advance(WINDOW_SECONDS / 2)
        assert registry.get_sample_value("tidegate_requests_in_flight") == 0.5
        record.code = "400"
        metrics.record_rejection(RequestError("No.", ErrorCode.INVALID_ARGUMENT))
    counted = samples(registry, "tidegate_")
    assert metrics.in_flight.count == 0
    assert counted["tidegate_requests_in_flight",] == 0.5
    assert counted["tidegate_requests_total", "v1", "400"] == 1
    assert counted["tidegate_requests_rejected_total", "invalid_argument"] == 1
    assert counted["tidegate_request_duration_seconds_count", "v1"] == 1


def test_request_that_raises_is_counted_as_500(registry: CollectorRegistry, metrics: Metrics) -> None:
    with pytest.raises(ZeroDivisionError), metrics.track_request("v2"):
        raise ZeroDivisionError
    assert samples(registry, "tidegate_requests_total")["tidegate_requests_total", "v2", "500"] == 1
    assert metrics.in_flight.count == 0


def test_durations_equal_prometheus_client(
    registry: CollectorRegistry, metrics: Metrics, clock: FakeClock
) -> None:
    reference_registry = CollectorRegistry()
    reference = Histogram(
        "tidegate_request_duration_seconds",
        "The same.",
        ["protocol"],
        buckets=DURATION_BUCKETS,
        registry=reference_registry,
    )
    for number in range(1, 1001):
        started_at = clock() - (number * 7919 % 1000) / 300
        metrics.record_response("v1", "429" if number % 3 == 0 else "200", 1, started_at)
        reference.labels("v1").observe(clock() - started_at)
        if number in (1, 500, 1000):
            name = "tidegate_request_duration_seconds"
            actual = {key: value for key, value in samples(registry, name).items() if key[1] == "v1"}
            assert actual == pytest.approx(samples(reference_registry, name))
    requests = samples(registry, "tidegate_requests_total")
    assert requests["tidegate_requests_total", "v1", "200"] == 667
    assert requests["tidegate_requests_total", "v1", "429"] == 333


def test_batch_sizes_equal_prometheus_client(registry: CollectorRegistry, metrics: Metrics) -> None:
    reference_registry = CollectorRegistry()
    reference = Histogram(
        "tidegate_batch_size_rows", "The same.", buckets=BATCH_SIZE_BUCKETS, registry=reference_registry
    )
    for rows in (1, 2, 3, 1024, 1025, 20_000):
        metrics.record_batch(rows, [0.001])
        reference.observe(rows)
    actual = samples(registry, "tidegate_batch_size_rows")
    assert len(actual) == len(BATCH_SIZE_BUCKETS) + 3  # and +Inf, count and sum
    assert actual == samples(reference_registry, "tidegate_batch_size_rows")


def test_queue_is_exposed(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.queued_rows = lambda: 7
    metrics.record_batch(3, [0.2, 0.002])
    metrics.record_batch(2, [0.0024, 0.002])
    counted = samples(registry, "tidegate_queue_")
    assert counted["tidegate_queue_depth_rows",] == 7
    assert counted["tidegate_queue_duration_seconds_bucket", "0.0025"] == 3
    assert counted["tidegate_queue_duration_seconds_count",] == 4
    assert counted["tidegate_queue_duration_seconds_sum",] == pytest.approx(0.2064)


def test_service_times_are_busy_time_of_the_engine(registry: CollectorRegistry, metrics: Metrics) -> None:
    for seconds in (0.0001, 0.004, 0.25):
        metrics.record_service_time(seconds)
    counted = samples(registry, "tidegate_")
    assert counted["tidegate_batch_duration_seconds_bucket", "0.0001"] == 1
    assert counted["tidegate_batch_duration_seconds_bucket", "0.005"] == 2
    assert counted["tidegate_batch_duration_seconds_count",] == 3
    assert counted["tidegate_engine_busy_seconds_total",] == pytest.approx(0.2541)


def test_loop_wait_is_half_of_the_iteration_per_request(
    registry: CollectorRegistry, metrics: Metrics, clock: FakeClock
) -> None:
    metrics.record_iteration(9.0)  # without a request nothing has waited
    for requests, seconds in ((3, 0.5), (1, 0.25)):
        for _ in range(requests):
            metrics.in_flight.start(clock())
        metrics.record_iteration(seconds)
    assert registry.get_sample_value("tidegate_loop_wait_seconds_total") == 3 * 0.25 + 0.125


def test_stages_replace_those_of_kserve(registry: CollectorRegistry) -> None:
    replaced = [
        Histogram(f"request_{stage}_seconds", "x", ["model_name"], registry=registry) for stage in STAGES
    ]
    metrics = Metrics(registry, "m", replaced)
    metrics.record_parse(0.25)
    metrics.record_parse(0.75)
    metrics.record_stage("predict", 0.5, 5)
    counted = samples(registry, "request_")
    assert counted["request_preprocess_seconds_count", "m"] == 2
    assert counted["request_preprocess_seconds_sum", "m"] == pytest.approx(1.0)
    assert counted["request_predict_seconds_count", "m"] == 5
    assert counted["request_predict_seconds_sum", "m"] == pytest.approx(0.5)
    assert counted["request_postprocess_seconds_count", "m"] == 0

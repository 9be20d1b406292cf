# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.observability.metrics import Metrics


def test_what_was_counted_is_what_prometheus_would_have_counted() -> None:
    registry, other = CollectorRegistry(), CollectorRegistry()
    metrics = Metrics(registry, "m")
    theirs = Histogram(
        "tidegate_batch_size_rows",
        "x",
        buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384),
        registry=other,
    )
    for rows in (1, 2, 3, 1024, 1025, 20_000):
        metrics.record_batch(rows, [0.001])
        theirs.observe(rows)
    name = b"tidegate_batch_rows_"
    ours = [line for line in generate_latest(registry).splitlines() if line.startswith(name)]
    expected = [line for line in generate_latest(other).splitlines() if line.startswith(name)]
    assert ours == [line for line in expected if b"_created" not in line]


def test_a_request_is_in_flight_until_it_is_counted_by_code() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, "m")
    with metrics.track_request("v1") as record:
        assert registry.get_sample_value("tidegate_requests_in_flight") == 1
        record.code = "400"
        metrics.record_rejection(RequestError("no.", ErrorCode.INVALID_ARGUMENT))
    assert registry.get_sample_value("tidegate_requests_in_flight") == 0
    assert registry.get_sample_value("tidegate_requests_total", {"protocol": "v1", "code": "400"}) == 1
    assert registry.get_sample_value("tidegate_requests_rejected_total", {"reason": "invalid_argument"}) == 1
    assert registry.get_sample_value("tidegate_request_duration_seconds_count", {"protocol": "v1"}) == 1


def test_many_requests_are_counted_as_prometheus_would_have_counted_them_one_by_one() -> None:
    registry, other = CollectorRegistry(), CollectorRegistry()
    metrics = Metrics(registry, "m")
    bounds = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    theirs = Histogram("tidegate_request_duration_seconds", "x", ["protocol"], buckets=bounds, registry=other)
    for number in range(1, 1001):
        seconds = (number * 7919 % 1000) / 300
        code = "429" if number % 3 == 0 else "200"
        metrics.record_response("v1", code, 1, seconds)
        theirs.labels("v1").observe(seconds)
        if number in (1, 500, 1000):
            for line in generate_latest(other).decode().splitlines():
                if line.startswith("tidegate_request_duration_seconds_bucket"):
                    assert line in generate_latest(registry).decode()
            labels = {"protocol": "v1"}
            for end in ("count", "sum"):
                name = f"tidegate_request_duration_seconds_{end}"
                ours, expected = (each.get_sample_value(name, labels) for each in (registry, other))
                assert ours == pytest.approx(expected)
    for code, count in (("200", 667), ("429", 333)):
        labels = {"protocol": "v1", "code": code}
        assert registry.get_sample_value("tidegate_requests_total", labels) == count


def test_the_queue_and_kserves_stages_are_exposed() -> None:
    registry = CollectorRegistry()
    kserves = Histogram("request_predict_seconds", "x", ["model_name"], registry=registry)
    metrics = Metrics(registry, "m", [kserves])
    metrics.queued_rows = lambda: 7
    metrics.record_batch(3, [0.2, 0.002])
    metrics.record_batch(2, [0.0024, 0.002])
    metrics.record_parse(0.25)
    metrics.record_parse(0.75)
    metrics.record_stage("predict", 0.5, 5)
    assert registry.get_sample_value("tidegate_queue_depth_rows") == 7
    assert registry.get_sample_value("tidegate_queue_duration_seconds_bucket", {"le": "0.0025"}) == 3
    assert registry.get_sample_value("tidegate_queue_duration_seconds_count") == 4
    assert registry.get_sample_value("tidegate_queue_duration_seconds_sum") == pytest.approx(0.2064)
    labels = {"model_name": "m"}
    assert registry.get_sample_value("request_preprocess_seconds_count", labels) == 2
    assert registry.get_sample_value("request_preprocess_seconds_sum", labels) == pytest.approx(1.0)
    assert registry.get_sample_value("request_predict_seconds_count", labels) == 5
    assert registry.get_sample_value("request_predict_seconds_sum", labels) == pytest.approx(0.5)

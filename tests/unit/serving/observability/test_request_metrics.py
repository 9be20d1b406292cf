# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from prometheus_client import CollectorRegistry

from tidegate_serving.errors import RequestError
from tidegate_serving.observability.metrics import Metrics
from tidegate_serving.observability.request_metrics import RESPONSE_CODES, shadow_metrics


def test_mirrored_requests_have_series_of_their_own() -> None:
    registry = CollectorRegistry()
    users, mirrored = Metrics(registry), shadow_metrics(registry)
    with mirrored.track_request("v1") as record:
        record.code = "400"
    mirrored.record_rejection(RequestError("x"))
    mirrored.record_parse(1.0)
    for lane, expected in (("tidegate", 0), ("tidegate_shadow", 1)):
        for name, labels in (
            ("requests_total", {"protocol": "v1", "code": "400"}),
            ("request_duration_seconds_count", {"protocol": "v1"}),
            ("requests_rejected_total", {"reason": "invalid_argument"}),
        ):
            assert registry.get_sample_value(f"{lane}_{name}", labels) == expected
    assert users.in_flight.started == 0
    assert registry.get_sample_value("request_preprocess_seconds_count", {"model_name": ""}) == 0


def test_known_codes_of_mirrored_requests_exist_from_the_start() -> None:
    registry = CollectorRegistry()
    shadow_metrics(registry)
    for protocol, codes in RESPONSE_CODES.items():
        for code in codes:
            labels = {"protocol": protocol, "code": code}
            assert registry.get_sample_value("tidegate_shadow_requests_total", labels) == 0

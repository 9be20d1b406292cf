# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Values of a capacity file in helm/tidegate: the bundle of the values, and the objects that they make."""

from typing import Any

import pytest
import yaml

from tests.charts.chart import Values, of_kind, render
from tests.charts.conftest import DIGEST, OTHER, merged
from tests.support.capacities import FIELDS
from tidegate_loadtests.capacity.chart_values import chart_values, size
from tidegate_loadtests.capacity.document import Capacity
from tidegate_loadtests.capacity.traffic import Autoscaler, Traffic

TRAFFIC = Traffic(peak=20_000, growth=50, largest_step=9_000)


def make_capacity(**changes: Any) -> Capacity:
    return Capacity.model_validate(FIELDS | {"digest": DIGEST} | changes)


@pytest.mark.parametrize(
    "capacity",
    [
        {"digest": DIGEST},
        {"digest": f"sha256:{DIGEST}"},
        {"digest": OTHER},  # the canary's
        {"digest": "ab" * 32, "allowOtherDigest": True},
        {"digest": ""},
    ],
)
def test_capacity_of_a_served_bundle_is_accepted(two_tracks: Values, capacity: Values) -> None:
    assert render(merged(two_tracks, {"capacity": capacity}))


@pytest.mark.parametrize("changes", [{}, {"limits": {"cpu": 0.3}}, {"threshold": {"latency_ms": 500.0}}])
def test_capacity_values_make_the_derived_autoscaler(minimal: Values, changes: dict[str, Any]) -> None:
    capacity = make_capacity(**changes)
    sizing = size(capacity, TRAFFIC, Autoscaler.HPA)
    values = yaml.safe_load(chart_values(capacity, TRAFFIC, Autoscaler.HPA))
    objects = render(merged(minimal, values))
    [hpa] = of_kind(objects, "HorizontalPodAutoscaler").values()
    assert hpa["spec"]["minReplicas"] == sizing.min_replicas
    assert hpa["spec"]["maxReplicas"] == sizing.max_replicas
    target = hpa["spec"]["metrics"][0]["containerResource"]["target"]
    assert target["averageUtilization"] == sizing.cpu_target_percent
    [service] = of_kind(objects, "InferenceService").values()
    [container] = service["spec"]["predictor"]["containers"]
    assert container["resources"] == values["resources"]


@pytest.mark.parametrize("threshold_ms", [20.0, 250.0, 400.0, 1200.0])
def test_capacity_values_fit_the_gateways_timeout(routed: Values, threshold_ms: float) -> None:
    capacity = make_capacity(threshold={"latency_ms": threshold_ms})
    values = yaml.safe_load(chart_values(capacity, TRAFFIC, Autoscaler.HPA))
    objects = render(merged(merged(routed, {"backendTrafficPolicy": {"enabled": True}}), values))
    assert of_kind(objects, "BackendTrafficPolicy")


def test_capacity_values_make_the_derived_scaled_object(minimal: Values) -> None:
    capacity = make_capacity()
    values = yaml.safe_load(chart_values(capacity, TRAFFIC, Autoscaler.KEDA))
    [scaled] = of_kind(render(merged(minimal, values)), "ScaledObject").values()
    sizing = size(capacity, TRAFFIC, Autoscaler.KEDA)
    assert scaled["spec"]["minReplicaCount"] == sizing.min_replicas
    metadata = scaled["spec"]["triggers"][0]["metadata"]
    assert float(metadata["targetValue"]) == sizing.in_flight_target

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The canary before it has a weight: mirrored requests, samples, and the split without a Gateway."""

import pytest

from tests.charts.chart import (
    Object,
    Values,
    environment,
    notes,
    of_kind,
    pod_checksums,
    render,
    replica_labels,
    selects,
)
from tests.charts.conftest import OTHER, merged

SHADOW_PORTS = {80: 8083, 8081: 8084}
"""By the port of the Service, the port of the canary's pods."""


@pytest.fixture
def canary(routed: Values) -> Values:
    """A canary at weight 0."""
    return merged(routed, {"canary": {"digest": OTHER}})


@pytest.fixture
def without_gateway(minimal: Values) -> Values:
    return merged(minimal, {"canary": {"digest": OTHER}, "service": {"enabled": True}})


def tracks_of(service: Object, objects: list[Object]) -> set[str]:
    """Return the tracks whose pods a Service selects."""
    pods = of_kind(objects, "InferenceService")
    return {
        name
        for name, labels in replica_labels(objects).items()
        if selects(
            {"matchLabels": service["spec"]["selector"]},
            labels | pods[name]["spec"]["predictor"].get("labels", {}),
        )
    }


def server_environment(objects: list[Object], track: str) -> dict[str, str]:
    [container] = of_kind(objects, "InferenceService")[track]["spec"]["predictor"]["containers"]
    return environment(container)


@pytest.mark.parametrize(("weight", "percent"), [(0, 10), (20, 100)])
def test_route_mirrors_rest_and_grpc_to_the_shadow_ports(canary: Values, weight: int, percent: int) -> None:
    objects = render(merged(canary, {"canary": {"weight": weight, "mirrorPercent": percent}}))
    shadow = of_kind(objects, "Service")["demo-canary-shadow"]
    assert tracks_of(shadow, objects) == {"demo-canary"}
    assert {port["port"]: port["targetPort"] for port in shadow["spec"]["ports"]} == SHADOW_PORTS
    assert [port.get("appProtocol") for port in shadow["spec"]["ports"]] == [None, "kubernetes.io/h2c"]
    rules = of_kind(objects, "HTTPRoute")["demo"]["spec"]["rules"]
    for rule, port in zip(rules, (8081, 80), strict=True):
        [mirror] = rule["filters"]
        backend = {"group": "", "kind": "Service", "name": "demo-canary-shadow", "port": port}
        assert mirror == {
            "type": "RequestMirror",
            "requestMirror": {"backendRef": backend, "percent": percent},
        }
    server = server_environment(objects, "demo-canary")
    ports = {int(server[f"TIDEGATE_SHADOW_{name}_PORT"]) for name in ("HTTP", "GRPC")}
    assert ports == set(SHADOW_PORTS.values())


def test_mirror_restarts_no_pod_and_changes_no_backend(canary: Values) -> None:
    before = render(canary)
    after = render(merged(canary, {"canary": {"mirrorPercent": 10}}))
    assert pod_checksums(before) == pod_checksums(after)
    for old, new in zip(
        *(of_kind(each, "HTTPRoute")["demo"]["spec"]["rules"] for each in (before, after)), strict=True
    ):
        assert "filters" not in old
        assert old == {name: part for name, part in new.items() if name != "filters"}
    # The Service exists before the route names it.
    assert of_kind(before, "Service").keys() == of_kind(after, "Service").keys() == {"demo-canary-shadow"}


def test_release_without_canary_has_no_shadow_port(routed: Values) -> None:
    objects = render(merged(routed, {"networkPolicy": {"enabled": True}}))
    assert not of_kind(objects, "Service")
    assert not any(name.startswith("TIDEGATE_SHADOW") for name in server_environment(objects, "demo"))
    assert "8083" not in str(of_kind(objects, "NetworkPolicy"))


def test_network_policy_admits_mirrored_requests(canary: Values) -> None:
    objects = render(merged(canary, {"networkPolicy": {"enabled": True}}))
    [rule] = of_kind(objects, "NetworkPolicy")["demo"]["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == [8080, 8081, 8083, 8084]


def test_service_monitor_does_not_scrape_the_chart_services(canary: Values) -> None:
    objects = render(merged(canary, {"serviceMonitor": {"enabled": True}, "service": {"enabled": True}}))
    monitor = of_kind(objects, "ServiceMonitor")["demo"]["spec"]["selector"]
    for service in of_kind(objects, "Service").values():
        assert not selects(monitor, service["metadata"]["labels"])


def test_sample_rate_is_that_of_both_tracks(canary: Values) -> None:
    sampled = render(merged(canary, {"server": {"pairsSampleRate": 0.25}}))
    for track in ("demo", "demo-canary"):
        assert server_environment(sampled, track)["TIDEGATE_PAIRS_SAMPLE_RATE"] == "0.25"
        assert "TIDEGATE_PAIRS_SAMPLE_RATE" not in server_environment(render(canary), track)


@pytest.mark.parametrize(("split", "tracks"), [(False, {"demo"}), (True, {"demo", "demo-canary"})])
def test_service_selects_the_tracks_by_the_split(
    without_gateway: Values, split: bool, tracks: set[str]
) -> None:
    objects = render(merged(without_gateway, {"canary": {"splitByReplicas": split}}))
    [(name, service)] = of_kind(objects, "Service").items()
    assert name == "demo-tracks"
    assert tracks_of(service, objects) == tracks
    assert {port["port"]: port["targetPort"] for port in service["spec"]["ports"]} == {80: 8080, 8081: 8081}
    assert pod_checksums(objects) == pod_checksums(render(without_gateway))


def test_service_of_another_release_selects_other_pods(without_gateway: Values) -> None:
    values = merged(without_gateway, {"canary": {"splitByReplicas": True}})
    service = of_kind(render(values), "Service")["demo-tracks"]
    assert tracks_of(service, render(values, release="other")) == set()


def test_split_keeps_the_labels_of_the_user(without_gateway: Values) -> None:
    values = merged(without_gateway, {"podLabels": {"team": "risk", "tidegate/release": "mine"}})
    [labels] = [
        item["spec"]["predictor"]["labels"]
        for item in list(of_kind(render(values), "InferenceService").values())[:1]
    ]
    assert labels == {"team": "risk", "tidegate/release": "demo"}


def test_notes_say_how_to_divide_requests_without_a_gateway(minimal: Values, without_gateway: Values) -> None:
    text = notes(merged(minimal, {"canary": {"digest": OTHER}}))
    assert "Only a Gateway can give it a weight or a mirror" in text
    assert "--set service.enabled=true --set canary.splitByReplicas=true" in text
    text = notes(merged(without_gateway, {"canary": {"splitByReplicas": True}}))
    assert "The Service demo-tracks sends it about its percentage of all replicas" in text
    assert "--set canary.splitByReplicas=false" in text


def test_notes_have_the_mirrored_percentage(canary: Values) -> None:
    text = notes(merged(canary, {"canary": {"mirrorPercent": 10}}))
    assert "receives 0 % of the requests to the Gateway, a copy of 10 % of them, and none" in text

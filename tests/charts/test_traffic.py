# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Requests to helm/tidegate's tracks: route, policies, metrics and notes."""

import pytest
import yaml

from tests.charts.chart import Object, Values, notes, of_kind, render, replica_labels, selects
from tests.charts.conftest import DIGEST, OTHER, merged
from tidegate.memory import COMPILED, MIB, SCIKIT_LEARN


def weights_by_service(rule: Object) -> dict[str, int]:
    """Return a rule's weights by Service; one Service can be both backends."""
    weights: dict[str, int] = {}
    for backend in rule["backendRefs"]:
        weights[backend["name"]] = weights.get(backend["name"], 0) + backend["weight"]
    return weights


def rules(values: Values) -> list[Object]:
    return of_kind(render(values), "HTTPRoute")["demo"]["spec"]["rules"]


def test_route_default_is_off(minimal) -> None:
    assert not of_kind(render(minimal), "HTTPRoute")


@pytest.mark.parametrize("weight", [0, 20, 50, 100])
def test_rest_and_grpc_have_the_same_weights(two_tracks, weight) -> None:
    grpc, rest = rules(merged(two_tracks, {"canary": {"weight": weight}}))
    for rule, port in ((grpc, 8081), (rest, 80)):
        expected = {"demo-predictor": 100 - weight, "demo-canary-predictor": weight}
        assert weights_by_service(rule) == {name: weight for name, weight in expected.items() if weight}
        assert {backend["port"] for backend in rule["backendRefs"]} == {port}


def test_canary_without_weight_receives_no_request(routed) -> None:
    for rule in rules(merged(routed, {"canary": {"digest": OTHER}})):
        assert weights_by_service(rule) == {"demo-predictor": 100}


@pytest.mark.parametrize("weight", [0, 1, 20, 99, 100])
def test_weight_changes_no_envoy_cluster(routed, two_tracks, weight) -> None:
    for values in (routed, merged(two_tracks, {"canary": {"weight": weight}})):
        for rule in rules(values):
            assert len(rule["backendRefs"]) == 2
            assert all(backend["weight"] > 0 for backend in rule["backendRefs"])


# The upgrades of docs/canary.md in order, each merged over the values before.
PROMOTION = [
    {"canary": {"digest": OTHER}},
    {"canary": {"weight": 20}},
    {"canary": {"minReplicas": 3}},
    {"canary": {"weight": 100}, "autoscaling": {"minReplicas": 3}},
    {"model": {"digest": OTHER, "previous": [DIGEST]}},
    {"canary": {"weight": 0}},
    {"canary": {"digest": "", "minReplicas": None}, "autoscaling": {"minReplicas": 1}},
]


def weights_by_track(objects: list[Object]) -> dict[str, int]:
    route = of_kind(objects, "HTTPRoute")["demo"]["spec"]["rules"][0]
    return {name.removesuffix("-predictor"): weight for name, weight in weights_by_service(route).items()}


def test_promotion_steps_keep_the_serving_track_unchanged(routed) -> None:
    values, before = routed, render(routed)
    for step in PROMOTION:
        values = merged(values, step)
        after = render(values)
        for track, weight in weights_by_track(before).items():
            if weight:
                assert of_kind(after, "InferenceService")[track] == of_kind(before, "InferenceService")[track]
        for track, weight in weights_by_track(after).items():
            assert not weight or track in of_kind(before, "InferenceService"), f"{track} does not exist yet"
        before = after
    assert weights_by_track(before) == {"demo": 100}
    assert set(of_kind(before, "InferenceService")) == {"demo"}
    assert OTHER in str(of_kind(before, "InferenceService")["demo"])


def test_each_backend_has_a_filter_for_its_own_envoy_cluster(two_tracks) -> None:
    for rule in rules(two_tracks):
        for backend in rule["backendRefs"]:
            [filter_] = backend["filters"]
            [header] = filter_["requestHeaderModifier"]["set"]
            assert header["name"] == "x-tidegate-track"
            assert header["value"] == ("canary" if "canary" in backend["name"] else "stable")


def test_canary_weight_changes_only_weights_of_backends(routed, two_tracks) -> None:
    for before, after in zip(rules(routed), rules(two_tracks), strict=True):
        assert {**before["backendRefs"][0], "weight": 80} == after["backendRefs"][0]


def test_route_does_not_expose_metrics(routed) -> None:
    paths = [match["path"] for rule in rules(routed) for match in rule["matches"]]
    assert [path["value"] for path in paths] == ["/inference.GRPCInferenceService", "/v1", "/v2"]
    assert {path["type"] for path in paths} == {"PathPrefix"}


def test_route_has_no_retry(two_tracks) -> None:
    objects = render(two_tracks)
    assert len(of_kind(objects, "HTTPRoute")) == 1
    assert not of_kind(objects, "GRPCRoute")
    assert all("retry" not in rule for rule in rules(two_tracks))


def test_backend_policy_retries_safely_and_closes_idle_first(routed) -> None:
    values = merged(routed, {"backendTrafficPolicy": {"enabled": True}})
    spec = of_kind(render(values), "BackendTrafficPolicy")["demo"]["spec"]
    assert spec["targetRefs"] == [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "demo"}]
    assert spec["retry"]["numRetries"] == 2
    triggers = {"connect-failure", "reset", "refused-stream", "unavailable", "retriable-status-codes"}
    assert set(spec["retry"]["retryOn"]["triggers"]) == triggers
    assert spec["retry"]["retryOn"]["httpStatusCodes"] == [503]
    assert spec["timeout"]["http"]["connectionIdleTimeout"] == "30s"
    assert spec["healthCheck"]["panicThreshold"] == 1


def test_backend_policy_bounds_attempts_and_ejects_silent_pods(routed) -> None:
    values = merged(routed, {"backendTrafficPolicy": {"enabled": True}})
    spec = of_kind(render(values), "BackendTrafficPolicy")["demo"]["spec"]
    assert spec["timeout"]["tcp"]["connectTimeout"] == "1s"
    assert spec["retry"]["perRetry"]["timeout"] == "3s"
    assert spec["healthCheck"]["passive"] == {
        "splitExternalLocalOriginErrors": True,
        "consecutiveLocalOriginFailures": 2,
        "consecutive5XxErrors": 0,
        "interval": "1s",
        "baseEjectionTime": "10s",
        "maxEjectionPercent": 50,
    }


def test_backend_policy_has_the_values_with_fractions(routed) -> None:
    ejection = {"consecutiveFailures": 3, "intervalSeconds": 0.5, "seconds": 90, "maxPercent": 30}
    own = {
        "enabled": True,
        "numRetries": 4,
        "connectTimeoutSeconds": 0.25,
        "perRetryTimeoutSeconds": 2.5,
        "ejection": ejection,
    }
    spec = of_kind(render(merged(routed, {"backendTrafficPolicy": own})), "BackendTrafficPolicy")["demo"][
        "spec"
    ]
    assert spec["retry"]["numRetries"] == 4
    assert spec["timeout"]["tcp"]["connectTimeout"] == "0s250ms"
    assert spec["retry"]["perRetry"]["timeout"] == "2s500ms"
    passive = spec["healthCheck"]["passive"]
    assert passive["consecutiveLocalOriginFailures"] == 3
    assert (passive["interval"], passive["baseEjectionTime"]) == ("0s500ms", "90s")
    assert passive["maxEjectionPercent"] == 30


@pytest.mark.parametrize(
    ("route", "missing"),
    [({"trackHeader": False}, ["filters"]), ({"requestTimeoutSeconds": 0}, ["timeouts"])],
)
def test_route_omits_what_a_gateway_does_not_support(two_tracks, route, missing) -> None:
    for rule, limited in zip(rules(two_tracks), rules(merged(two_tracks, {"route": route})), strict=True):
        backends = [
            {key: value for key, value in backend.items() if key not in missing}
            for backend in rule["backendRefs"]
        ]
        expected = {key: value for key, value in rule.items() if key not in missing}
        assert limited == expected | {"backendRefs": backends} != rule


def test_backend_traffic_policy_default_is_off(routed) -> None:
    assert not of_kind(render(routed), "BackendTrafficPolicy")


def policy(values: Values, **more) -> Object:
    return of_kind(render(merged(values, {"networkPolicy": {"enabled": True, **more}})), "NetworkPolicy")[
        "demo"
    ]["spec"]


def test_network_policy_default_is_off(minimal) -> None:
    assert not of_kind(render(minimal), "NetworkPolicy")


def test_network_policy_ingress_has_the_named_namespaces(minimal) -> None:
    [rule] = policy(minimal, allowNamespaces=["gateways"])["ingress"]
    assert rule["from"] == [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}},
    ]
    assert {port["port"] for port in rule["ports"]} == {8080, 8081}


def allowed(values: Values, **more) -> set[tuple[str, str, int]]:
    """Return the permitted egress of the pods, as (destination, protocol, port); "" is any destination."""
    destinations = set()
    for rule in policy(values, **more)["egress"]:
        places = [
            place["ipBlock"]["cidr"]
            if "ipBlock" in place
            else place["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            for place in rule.get("to", [])
        ]
        for port in rule["ports"]:
            destinations |= {(place, port["protocol"], port["port"]) for place in places or [""]}
    return destinations


DNS = {
    *(("kube-system", protocol, 53) for protocol in ("UDP", "TCP")),
    *(("169.254.20.10/32", protocol, 53) for protocol in ("UDP", "TCP")),
    *(("openshift-dns", protocol, 5353) for protocol in ("UDP", "TCP")),
}


@pytest.mark.parametrize(
    ("store", "more", "expected"),
    [
        ({}, {}, {("", "TCP", 443)}),
        ({"endpoint": "https://s3.example.com"}, {}, {("", "TCP", 443)}),
        ({"endpoint": "http://s3.example.com"}, {}, {("", "TCP", 80)}),
        ({"endpoint": "https://s3.example.com:9000/"}, {}, {("", "TCP", 9000)}),
        ({"endpoint": "http://[fd00::1]:9000"}, {}, {("", "TCP", 9000)}),
        ({"endpoint": "http://s3.storage"}, {"objectStorePort": 9000}, {("", "TCP", 9000)}),
        (
            {"endpoint": "http://s3.storage:9000"},
            {"objectStoreNamespace": "storage"},
            {("storage", "TCP", 9000)},
        ),
        (
            {"endpoint": "http://s3.storage:9000", "httpsProxy": "http://proxy.example.com:3128"},
            {"objectStoreNamespace": "storage"},
            {("storage", "TCP", 9000), ("", "TCP", 3128)},
        ),
        ({"httpsProxy": "http://proxy.example.com"}, {}, {("", "TCP", 443), ("", "TCP", 80)}),
    ],
)
def test_network_policy_egress_has_dns_store_and_proxy(minimal, store, more, expected) -> None:
    assert allowed(merged(minimal, {"objectStore": store}), **more) == DNS | expected


IDENTITIES = {
    "aws-irsa": {("", "TCP", 443)},
    "aws-pod-identity": {("169.254.170.23/32", "TCP", 80), ("fd00:ec2::23/128", "TCP", 80)},
    "gcp": {("169.254.169.254/32", "TCP", 80), ("169.254.169.252/32", "TCP", 988)},
    "azure": {("", "TCP", 443), ("169.254.169.254/32", "TCP", 80)},
}


@pytest.mark.parametrize("identity", IDENTITIES)
def test_network_policy_egress_has_the_identity_provider(minimal, identity) -> None:
    inside = merged(minimal, {"objectStore": {"endpoint": "http://s3.storage:9000"}})
    store = {("storage", "TCP", 9000)}
    actual = allowed(inside, objectStoreNamespace="storage", cloudIdentity=identity)
    assert actual == DNS | store | IDENTITIES[identity]


@pytest.mark.parametrize(
    ("annotation", "identity"),
    [
        ("eks.amazonaws.com/role-arn", "aws-irsa"),
        ("iam.gke.io/gcp-service-account", "gcp"),
        ("azure.workload.identity/client-id", "azure"),
    ],
)
def test_cloud_identity_follows_service_account_annotations(minimal, annotation, identity) -> None:
    annotated = merged(minimal, {"serviceAccount": {"annotations": {annotation: "x"}}})
    assert policy(annotated) == policy(minimal, cloudIdentity=identity)


def test_network_policy_egress_has_the_extra_rules(minimal) -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.0.0.2/32"}}], "ports": [{"protocol": "UDP", "port": 53}]}
    assert policy(minimal, egress=[rule])["egress"] == [*policy(minimal)["egress"], rule]


def test_network_policy_without_pull_has_only_the_extra_egress(minimal) -> None:
    values = merged(minimal, {"model": {"uri": "pvc://models/store/breast-cancer"}})
    assert policy(values)["egress"] == []
    rule = {"ports": [{"protocol": "TCP", "port": 15012}]}
    assert policy(values, egress=[rule])["egress"] == [rule]


def test_network_policy_ingress_has_the_extra_rules(minimal) -> None:
    rule = {"ports": [{"protocol": "TCP", "port": 15008}]}
    assert policy(minimal, ingress=[rule])["ingress"] == [*policy(minimal)["ingress"], rule]


def test_network_policy_for_one_gateway_admits_the_helm_test(minimal) -> None:
    gateway = {"podSelector": {"matchLabels": {"app": "gateway"}}}
    [rule] = policy(minimal, allowSameNamespace=False, allowFrom=[gateway])["ingress"]
    test, other = rule["from"]
    assert other == gateway
    labels = of_kind(render(minimal), "Pod")["demo-golden"]["metadata"]["labels"]
    assert selects(test["podSelector"], labels)
    assert not selects(test["podSelector"], replica_labels(render(minimal))["demo"])


def test_network_policy_lets_the_helm_test_out(two_tracks) -> None:
    objects = render(merged(two_tracks, {"networkPolicy": {"enabled": True}}))
    golden = of_kind(objects, "NetworkPolicy")["demo-golden"]["spec"]
    pods = of_kind(objects, "Pod")
    assert len(pods) == 2
    assert all(selects(golden["podSelector"], pod["metadata"]["labels"]) for pod in pods.values())
    model, *others = golden["egress"]
    for labels in replica_labels(objects).values():
        assert not selects(golden["podSelector"], labels)
        assert selects(model["to"][0]["podSelector"], labels)
    # The pods of the test pull the bundle, too.
    assert others == of_kind(objects, "NetworkPolicy")["demo"]["spec"]["egress"]
    assert golden["ingress"] == []


METRICS = {"server": {"metricsPort": 8082}, "serviceMonitor": {"enabled": True}}


def test_metrics_port_is_that_of_the_server_and_of_every_reader(minimal) -> None:
    values = merged(minimal, METRICS | {"autoscaling": {"type": "keda"}, "networkPolicy": {"enabled": True}})
    objects = render(values)
    [server] = of_kind(objects, "InferenceService")["demo"]["spec"]["predictor"]["containers"]
    assert {"name": "TIDEGATE_METRICS_PORT", "value": "8082"} in server["env"]
    # KServe's Service has the ports of the container, by name.
    assert {"name": "metrics", "containerPort": 8082, "protocol": "TCP"} in server["ports"]
    assert server["ports"][0]["name"] == "http"
    [endpoint] = of_kind(objects, "ServiceMonitor")["demo"]["spec"]["endpoints"]
    assert endpoint["port"] == "metrics"
    [trigger] = of_kind(objects, "ScaledObject")["demo"]["spec"]["triggers"]
    assert ":8082/metrics" in trigger["metadata"]["url"]
    operator = of_kind(objects, "NetworkPolicy")["demo"]["spec"]["ingress"][-1]
    assert [port["port"] for port in operator["ports"]] == [8082]


def test_network_policy_keeps_the_metrics_to_prometheus(minimal) -> None:
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    values = merged(minimal, METRICS)
    requests, metrics = policy(values, metricsFrom=[prometheus])["ingress"]
    assert [port["port"] for port in requests["ports"]] == [8080, 8081]
    assert metrics == {"from": [prometheus], "ports": [{"protocol": "TCP", "port": 8082}]}
    requests, metrics = policy(values)["ingress"]
    assert metrics["from"] == requests["from"]


def test_network_policy_selects_the_pods_of_the_model(two_tracks) -> None:
    objects = render(merged(two_tracks, {"networkPolicy": {"enabled": True}}))
    selector = of_kind(objects, "NetworkPolicy")["demo"]["spec"]["podSelector"]
    assert all(selects(selector, labels) for labels in replica_labels(objects).values())
    for labels in replica_labels(render(two_tracks, release="other")).values():
        assert not selects(selector, labels)


def test_service_monitor_selects_services_and_adds_the_track(minimal) -> None:
    objects = render(
        merged(minimal, {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}})
    )
    monitor = of_kind(objects, "ServiceMonitor")["demo"]
    assert selects(monitor["spec"]["selector"], replica_labels(objects)["demo"])
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    [endpoint] = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert endpoint["relabelings"][0]["targetLabel"] == "track"


def test_notes_list_the_next_steps(minimal) -> None:
    text = notes(minimal)
    assert f"s3://models/breast-cancer@sha256:{DIGEST}" in text
    assert "helm test demo --namespace models" in text
    assert "tidegate status demo --namespace models --wait" in text
    assert "--container storage-initializer" in text
    assert "canary" not in text.replace("helm rollback", "")
    assert "minReplicas to 2" in text


def test_notes_have_the_service_address_instead_of_kserves_url(minimal) -> None:
    text = notes(minimal)
    assert "http://demo-predictor.models, or demo-predictor.models:8081 for gRPC" in text
    assert "status.url" not in text
    assert "get inferenceservice" not in text


def test_notes_with_wildcard_host_show_a_concrete_host(routed) -> None:
    text = notes(merged(routed, {"route": {"hostnames": ["*.models.example.com"]}}))
    assert "curl http://breast-cancer.models.example.com/v2/models/breast-cancer" in text
    assert "*" not in text


def test_notes_follow_the_values(two_tracks) -> None:
    text = notes(merged(two_tracks, {"autoscaling": {"minReplicas": 2}}))
    assert "curl http://breast-cancer.models.example.com/v2/models/breast-cancer" in text
    assert OTHER in text
    assert "20 %" in text
    assert "minReplicas to 2" not in text


def test_notes_without_pull_omit_the_init_container(minimal) -> None:
    assert "storage-initializer" not in notes(
        merged(minimal, {"model": {"uri": "pvc://models/store/breast-cancer"}})
    )


@pytest.mark.parametrize(
    ("limit", "mebibytes", "engine", "models"),
    [
        ("1Gi", 1024, "auto", {"onnx", "skops"}),
        (2684354560, 2560, "onnx", {"onnx"}),
        ("600M", 572, "sklearn", {"skops"}),
        ("64Mi", 64, "auto", {"onnx", "skops"}),
    ],
)
def test_notes_have_the_largest_model_for_the_memory(
    minimal, limit: str | int, mebibytes: int, engine: str, models: set[str]
) -> None:
    resources = {"requests": {"memory": "64Mi"}, "limits": {"memory": limit}}
    text = notes(merged(minimal, {"resources": resources, "server": {"engine": engine}}))
    assert f"The memory limit of {mebibytes} MiB" in text
    for name, memory in (("onnx", COMPILED), ("skops", SCIKIT_LEARN)):
        # The largest model whose limit is within this one.
        size = max(0, mebibytes * MIB - memory.base) // memory.factor // MIB
        assert (f"model.{name} of {size} MiB" in text) is (name in models)


def test_notes_warn_when_a_policy_blocks_the_gateway(minimal) -> None:
    closed = merged(minimal, {"networkPolicy": {"enabled": True}})
    assert "networkPolicy.allowNamespaces" in notes(closed)
    assert "allowNamespaces" not in notes(
        merged(closed, {"networkPolicy": {"allowNamespaces": ["gateways"]}})
    )
    assert "allowNamespaces" not in notes(minimal)


def test_notes_name_the_previous_digest(minimal) -> None:
    assert OTHER in notes(merged(minimal, {"model": {"previous": [OTHER]}}))


def test_chart_has_no_crd_webhook_or_role(two_tracks) -> None:
    everything = yaml.safe_load(
        "{serviceMonitor: {enabled: true}, alerts: {enabled: true}, networkPolicy: {enabled: true}}"
    )
    kinds = {item["kind"] for item in render(merged(two_tracks, everything))}
    assert not {kind for kind in kinds if "Webhook" in kind or "Role" in kind or "Definition" in kind}

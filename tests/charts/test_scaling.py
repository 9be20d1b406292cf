# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Autoscalers and PodDisruptionBudgets of helm/tidegate: one of each per track."""

from urllib.parse import urlsplit

import pytest

from tests.charts.chart import Object, Values, of_kind, render, replica_labels, selects
from tests.charts.conftest import merged

KEDA = {
    "autoscaling": {
        "type": "keda",
        "keda": {"source": "prometheus", "prometheusAddress": "http://prometheus:9090"},
    },
    "serviceMonitor": {"enabled": True},
}


def test_each_track_has_an_autoscaler_for_its_deployment(two_tracks) -> None:
    autoscalers = of_kind(render(two_tracks), "HorizontalPodAutoscaler")
    targets = {name: item["spec"]["scaleTargetRef"]["name"] for name, item in autoscalers.items()}
    assert targets == {"demo-hpa": "demo-predictor", "demo-canary-hpa": "demo-canary-predictor"}


def autoscaler_names(values: Values) -> set[str]:
    """Return the names of the HorizontalPodAutoscalers that Helm or KEDA creates."""
    objects = render(values)
    scaled = of_kind(objects, "ScaledObject").values()
    created_by_keda = {item["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"] for item in scaled}
    return created_by_keda | set(of_kind(objects, "HorizontalPodAutoscaler"))


def test_autoscalers_of_both_types_can_exist_at_once(two_tracks) -> None:
    """Helm creates the objects of the new type before it deletes those of the old one."""
    hpa, keda = autoscaler_names(two_tracks), autoscaler_names(merged(two_tracks, KEDA))
    assert len(hpa) == len(keda) == 2
    assert not hpa & keda
    for item in of_kind(render(two_tracks), "HorizontalPodAutoscaler").values():
        # Otherwise KEDA's webhook rejects the ScaledObject while the autoscaler exists.
        assert item["metadata"]["annotations"]["validations.keda.sh/hpa-ownership"] == "false"


def test_switch_between_hpa_and_keda_restarts_no_pod(two_tracks) -> None:
    before = of_kind(render(two_tracks), "InferenceService")
    assert of_kind(render(merged(two_tracks, KEDA)), "InferenceService") == before


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_autoscaler_name_and_class_keep_kserve_away(two_tracks, kind) -> None:
    objects = render(merged(two_tracks, merged(KEDA, {"autoscaling": {"type": kind}})))
    for name, isvc in of_kind(objects, "InferenceService").items():
        assert isvc["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"
        names = autoscaler_names(merged(two_tracks, merged(KEDA, {"autoscaling": {"type": kind}})))
        assert names
        assert f"{name}-predictor" not in names


def test_default_metric_is_cpu_of_the_server(minimal) -> None:
    hpa = of_kind(
        render(merged(minimal, {"autoscaling": {"targetCPUUtilization": 60}})), "HorizontalPodAutoscaler"
    )
    [metric] = hpa["demo-hpa"]["spec"]["metrics"]
    assert metric["containerResource"] == {
        "container": "kserve-container",
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 60},
    }


def test_custom_metrics_replace_cpu(minimal) -> None:
    metric = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}},
    }
    hpa = of_kind(render(merged(minimal, {"autoscaling": {"metrics": [metric]}})), "HorizontalPodAutoscaler")
    assert hpa["demo-hpa"]["spec"]["metrics"] == [metric]


def test_custom_external_metric_selects_the_load_of_each_track(two_tracks) -> None:
    metric = {
        "type": "External",
        "external": {
            "metric": {"name": "in_flight", "selector": {"matchLabels": {"service": "@SERVICE@"}}},
            "target": {"type": "AverageValue", "averageValue": "8"},
        },
    }
    autoscalers = of_kind(
        render(merged(two_tracks, {"autoscaling": {"metrics": [metric]}})), "HorizontalPodAutoscaler"
    )
    services = {
        name: item["spec"]["metrics"][0]["external"]["metric"]["selector"]["matchLabels"]["service"]
        for name, item in autoscalers.items()
    }
    assert services == {"demo-hpa": "demo-predictor", "demo-canary-hpa": "demo-canary-predictor"}


def test_default_scale_down_is_slower_than_the_drain(minimal) -> None:
    objects = render(minimal)
    behavior = of_kind(objects, "HorizontalPodAutoscaler")["demo-hpa"]["spec"]["behavior"]
    [policy] = behavior["scaleDown"]["policies"]
    pod = of_kind(objects, "InferenceService")["demo"]["spec"]["predictor"]
    assert (policy["type"], policy["value"]) == ("Pods", 1)
    assert policy["periodSeconds"] > pod["terminationGracePeriodSeconds"]


def test_canary_replica_bounds_default_to_the_stable_track(two_tracks) -> None:
    values = merged(
        two_tracks, {"autoscaling": {"minReplicas": 3, "maxReplicas": 9}, "canary": {"minReplicas": 1}}
    )
    specs = {name: item["spec"] for name, item in of_kind(render(values), "HorizontalPodAutoscaler").items()}
    limits = {name: (spec["minReplicas"], spec["maxReplicas"]) for name, spec in specs.items()}
    assert limits == {"demo-hpa": (3, 9), "demo-canary-hpa": (1, 9)}


def test_autoscaling_none_keeps_a_fixed_number_of_replicas(two_tracks) -> None:
    values = merged(
        two_tracks, {"autoscaling": {"type": "none", "minReplicas": 3}, "canary": {"minReplicas": 1}}
    )
    objects = render(values)
    assert not of_kind(objects, "HorizontalPodAutoscaler")
    isvcs = of_kind(objects, "InferenceService")
    for isvc in isvcs.values():
        assert isvc["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "none"
    replicas = {name: isvc["spec"]["predictor"]["minReplicas"] for name, isvc in isvcs.items()}
    assert replicas == {"demo": 3, "demo-canary": 1}


def test_keda_missing_metric_does_not_scale_down(two_tracks) -> None:
    scaled = of_kind(render(merged(two_tracks, KEDA)), "ScaledObject")
    assert set(scaled) == {"demo", "demo-canary"}
    for name, item in scaled.items():
        [trigger] = item["spec"]["triggers"]
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert f'service="{name}-predictor"' in trigger["metadata"]["query"]
        assert item["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"
        assert item["spec"]["minReplicaCount"] >= 1


def test_keda_query_follows_littles_law(two_tracks) -> None:
    for name, item in of_kind(render(merged(two_tracks, KEDA)), "ScaledObject").items():
        [trigger] = item["spec"]["triggers"]
        assert trigger["type"] == "prometheus"
        assert trigger["metricType"] == "AverageValue"
        assert trigger["metadata"]["query"] == (
            'sum(rate(tidegate_request_duration_seconds_sum{namespace="models",'
            f'service="{name}-predictor"}}[1m]))'
        )


def test_keda_without_prometheus_reads_each_pod(two_tracks) -> None:
    values = merged(two_tracks, {"autoscaling": {"type": "keda", "keda": {"inFlightPerReplica": 2.5}}})
    scaled = of_kind(render(values), "ScaledObject")
    assert set(scaled) == {"demo", "demo-canary"}
    for name, item in scaled.items():
        [trigger] = item["spec"]["triggers"]
        assert trigger["type"] == "metrics-api"
        # A sum, or a value per replica, would fall when a pod does not respond.
        assert trigger["metricType"] == "Value"
        assert trigger["metadata"] == {
            "url": f"http://{name}-predictor.models.svc:8080/metrics",
            "format": "prometheus",
            "valueLocation": "tidegate_requests_in_flight",
            "aggregateFromKubeServiceEndpoints": "true",
            "aggregationType": "average",
            "targetValue": "2.5",
        }
        assert item["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"


def test_keda_reads_the_port_of_the_container(minimal) -> None:
    """KEDA matches the port of the URL with the pods' ports, not with the Service's."""
    objects = render(merged(minimal, {"autoscaling": {"type": "keda"}}))
    [scaled] = of_kind(objects, "ScaledObject").values()
    [container] = of_kind(objects, "InferenceService")["demo"]["spec"]["predictor"]["containers"]
    port = urlsplit(scaled["spec"]["triggers"][0]["metadata"]["url"]).port
    assert port in {item["containerPort"] for item in container["ports"] if item["name"] == "http"}


def keda_ingress(values: Values) -> list[Object]:
    objects = render(merged(values, {"networkPolicy": {"enabled": True}}))
    policy = of_kind(objects, "NetworkPolicy")["demo"]
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda-system"}}}
    return [rule for rule in policy["spec"]["ingress"] if rule["from"] == [peer]]


def test_network_policy_lets_keda_read_metrics(minimal) -> None:
    values = merged(minimal, {"autoscaling": {"type": "keda", "keda": {"namespace": "keda-system"}}})
    [rule] = keda_ingress(values)
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert not keda_ingress(merged(values, KEDA))  # Prometheus reads the pods in place of KEDA
    assert not keda_ingress(merged(values, {"autoscaling": {"type": "hpa"}}))


def test_custom_keda_query_needs_no_service_monitor(minimal) -> None:
    own = {"serviceMonitor": {"enabled": False}, "autoscaling": {"keda": {"query": "sum(up)"}}}
    [scaled] = of_kind(render(merged(minimal, merged(KEDA, own))), "ScaledObject").values()
    assert scaled["spec"]["triggers"][0]["metadata"]["query"] == "sum(up)"


def test_custom_keda_query_uses_the_service_of_each_track(two_tracks) -> None:
    own = {"autoscaling": {"keda": {"query": 'sum(rate(x{service="@SERVICE@"}[1m]))'}}}
    scaled = of_kind(render(merged(two_tracks, merged(KEDA, own))), "ScaledObject")
    queries = {name: item["spec"]["triggers"][0]["metadata"]["query"] for name, item in scaled.items()}
    assert queries == {
        "demo": 'sum(rate(x{service="demo-predictor"}[1m]))',
        "demo-canary": 'sum(rate(x{service="demo-canary-predictor"}[1m]))',
    }


def test_keda_authenticates_to_prometheus(minimal) -> None:
    reference = {"name": "prometheus-credentials", "kind": "ClusterTriggerAuthentication"}
    own = {"autoscaling": {"keda": {"authModes": "bearer", "authenticationRef": reference}}}
    [scaled] = of_kind(render(merged(minimal, merged(KEDA, own))), "ScaledObject").values()
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["metadata"]["authModes"] == "bearer"
    assert trigger["authenticationRef"] == reference
    [plain] = of_kind(render(merged(minimal, KEDA)), "ScaledObject")["demo"]["spec"]["triggers"]
    assert "authenticationRef" not in plain
    assert "authModes" not in plain["metadata"]


def test_keda_further_triggers_follow_the_first(two_tracks) -> None:
    cron = {
        "type": "cron",
        "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *", "desiredReplicas": "4"},
    }
    own = {"type": "prometheus", "metadata": {"query": 'sum(x{service="@SERVICE@"})', "threshold": "1"}}
    for source in ("metrics-api", "prometheus"):
        keda = KEDA["autoscaling"]["keda"] if source == "prometheus" else {}
        values = {"autoscaling": {"type": "keda", "keda": keda | {"triggers": [cron, own]}}}
        values["serviceMonitor"] = {"enabled": True}
        for name, item in of_kind(render(merged(two_tracks, values)), "ScaledObject").items():
            first, *further = item["spec"]["triggers"]
            assert first["type"] == source
            query = own["metadata"]["query"].replace("@SERVICE@", f"{name}-predictor")
            assert further == [cron, own | {"metadata": own["metadata"] | {"query": query}}]


def test_keda_fallback_fits_the_canary_maximum(two_tracks) -> None:
    values = merged(
        two_tracks, {"autoscaling": {"type": "keda", "maxReplicas": 9, "keda": {"fallbackReplicas": 5}}}
    )
    scaled = of_kind(render(merged(values, {"canary": {"maxReplicas": 3}})), "ScaledObject")
    replicas = {name: item["spec"]["fallback"]["replicas"] for name, item in scaled.items()}
    assert replicas == {"demo": 5, "demo-canary": 3}


@pytest.mark.parametrize(
    "behavior", [{"selectPolicy": "Disabled"}, {"selectPolicy": "Disabled", "policies": None}]
)
def test_disabled_scale_down_needs_no_policy(minimal, behavior) -> None:
    values = {
        "autoscaling": {"behavior": {"scaleDown": behavior}},
        "server": {"shutdownTimeoutSeconds": 3600},
    }
    [hpa] = of_kind(render(merged(minimal, values)), "HorizontalPodAutoscaler").values()
    assert hpa["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Disabled"


def test_disruption_budget_allows_a_node_drain(two_tracks) -> None:
    objects = render(two_tracks)
    budgets = of_kind(objects, "PodDisruptionBudget")
    assert len(budgets) == 2
    for budget in budgets.values():
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize(
    ("budget", "rendered"),
    [
        ({"maxUnavailable": "20%"}, {"maxUnavailable": "20%"}),
        ({"minAvailable": 2}, {"minAvailable": 2}),
        ({"minAvailable": "50%"}, {"minAvailable": "50%"}),
    ],
)
def test_disruption_budget_has_one_number(minimal, budget, rendered) -> None:
    values = merged(minimal, {"autoscaling": {"minReplicas": 3}, "podDisruptionBudget": budget})
    [item] = of_kind(render(values), "PodDisruptionBudget").values()
    spec = item["spec"]
    assert {key: spec[key] for key in ("minAvailable", "maxUnavailable") if key in spec} == rendered


def test_rolling_update_is_no_part_of_the_checksum(minimal) -> None:
    def predictor(more: Values) -> Object:
        [isvc] = of_kind(render(merged(minimal, more)), "InferenceService").values()
        return isvc["spec"]["predictor"]

    changed = predictor({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
    assert changed["deploymentStrategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert changed["annotations"] == predictor({})["annotations"]
    default = predictor({})["deploymentStrategy"]["rollingUpdate"]
    assert default == {"maxSurge": "25%", "maxUnavailable": 0}


def test_disruption_budget_covers_one_track(two_tracks) -> None:
    objects = render(two_tracks)
    for name, budget in of_kind(objects, "PodDisruptionBudget").items():
        selector = budget["spec"]["selector"]
        assert [pod for pod, labels in replica_labels(objects).items() if selects(selector, labels)] == [name]

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Invalid values of helm/tidegate fail at render, with a message that names the value and the fix."""

import pytest
import yaml

from tests.charts.chart import InvalidValuesError, render
from tests.charts.conftest import DIGEST, IMAGE, OTHER, merged

GOOD = {"model": {"uri": "s3://models/breast-cancer", "digest": DIGEST}, "image": IMAGE}

# Invalid values in YAML, and parts of the message: the value's name, the received value and the fix.
MESSAGES = [
    ("model: {uri: ''}", ["model.uri is not set", "--set model.uri=s3://"]),
    ("model: {digest: ''}", ["model.digest is not set", "tidegate inspect"]),
    ("model: {digest: abc}", ['model.digest is "abc"', "64 digits"]),
    (f"model: {{digest: {DIGEST.upper()}}}", ["model.digest is", "0-9 and a-f"]),
    (f"model: {{digest: 'md5:{DIGEST}'}}", ["model.digest is", "sha256:"]),
    (f"model: {{uri: 's3://models/breast-cancer@sha256:{DIGEST}'}}", ["model.uri is", "as model.digest"]),
    ("model: {uri: 's3://models/breast-cancer:stable'}", ["channel or tag moves", "tidegate inspect"]),
    ("model: {uri: 'file:///models/breast-cancer'}", ["one machine", "pvc://"]),
    ("model: {uri: models/breast-cancer}", ["model.uri is", "expected s3://"]),
    ("model: {uri: 'https://example.com/model'}", ["model.uri is", "expected s3://"]),
    ("model: {uri: 's3://breast-cancer'}", ["model.uri is", "s3://models/breast-cancer"]),
    ("model: {uri: 's3://models/Breast_Cancer'}", ["model.uri is", "a-z, 0-9 and '-'"]),
    ("model: {uri: 's3://models/breast-cancer/'}", ["model.uri is", "last part"]),
    ("model: {name: Tumour}", ['model.name is "Tumour"', "Leave it empty"]),
    ("model: {previous: [abc]}", ['model.previous[0] is "abc"', "64 digits"]),
    ("canary: {digest: abc}", ['canary.digest is "abc"', "64 digits"]),
    ("canary: {weight: 20}", ["there is no canary", "set canary.digest", "tidegate status --wait"]),
    (f"canary: {{weight: 20, digest: {OTHER}}}", ["there is no route", "route.enabled"]),
    ("capacity: {digest: abc}", ['capacity.digest is "abc"', "64 digits"]),
    (
        f"capacity: {{digest: {OTHER}}}",
        [f'capacity.digest is "{OTHER}"', f'serves "{DIGEST}"', "capacity.allowOtherDigest"],
    ),
    ("server: {allowedJoblibDigests: [abc]}", ['server.allowedJoblibDigests[0] is "abc"', "64 digits"]),
    (
        "server: {predictor: loan_rules.Loan}",
        ['server.predictor is "loan_rules.Loan"', "package.module:Class"],
    ),
    ("server: {predictor: 'a b:C'}", ['server.predictor is "a b:C"', "package.module:Class"]),
    ("server: {predictor: 'a:B:C'}", ['server.predictor is "a:B:C"', "package.module:Class"]),
    ("server: {env: [{name: TIDEGATE_PREDICTOR, value: 'a:B'}]}", ["use server.predictor"]),
    ("server: {env: [{name: PYTHONPATH, value: /x}]}", ["PYTHONPATH", "remove it"]),
    ("server: {env: [{name: TIDEGATE_MAX_ROWS, value: '1'}]}", ["TIDEGATE_MAX_ROWS", "use server.maxRows"]),
    (
        "server: {env: [{name: TIDEGATE_SHUTDOWN_TIMEOUT, value: '1'}]}",
        ["TIDEGATE_SHUTDOWN_TIMEOUT", "use server.shutdownTimeoutSeconds"],
    ),
    *(
        (
            f"server: {{env: [{{name: {name}, value: '1'}}]}}",
            [f"sets {name}", "the chart's address and ports: remove it"],
        )
        for name in ("TIDEGATE_HTTP_PORT", "TIDEGATE_GRPC_PORT", "TIDEGATE_HOST")
    ),
    (
        "{model: {uri: 'gs://models/m'}, objectStore: {endpoint: 'https://x'}}",
        ["belongs to s3://", "remove the endpoint"],
    ),
    (
        "{model: {uri: 'pvc://claim/m'}, objectStore: {secretName: x}}",
        ["does not pull from object storage", "remove objectStore"],
    ),
    (
        "{model: {uri: 'oci://registry/m'}, objectStore: {caConfigMap: x}}",
        ["does not pull from object storage", "remove objectStore"],
    ),
    (
        "autoscaling: {minReplicas: 5, maxReplicas: 4}",
        ["stable track", "minReplicas is 5", "maxReplicas, 4", "lower the minimum"],
    ),
    (
        f"canary: {{digest: {OTHER}, minReplicas: 9}}",
        ["canary track", "minReplicas is 9", "maxReplicas, 4", "lower the minimum"],
    ),
    *(
        (f"resources: {{requests: {{cpu: {cpu}}}}}", [f"resources.requests.cpu is {cpu}", "for example 500m"])
        for cpu in ("0", "0m")
    ),
    ("server: {drainSeconds: 120}", ["scaleDown", "every 60 s", "periodSeconds to 140"]),
    ("server: {shutdownTimeoutSeconds: 1800}", ["up to 1815 s", "at most 1800 s", "lower one of them"]),
    ("autoscaling: {behavior: {scaleDown: null}}", ["no policies", "periodSeconds: 60"]),
    ("autoscaling: {behavior: {scaleDown: {policies: null}}}", ["no policies", "selectPolicy to Disabled"]),
    (
        "autoscaling: {behavior: {scaleDown: {policies: [{type: Percent, value: 100, periodSeconds: 60}]}}}",
        ["100 percent", "at once", "below 100"],
    ),
    (
        "autoscaling: {type: keda, keda: {source: prometheus}}",
        ["keda.prometheusAddress is not set", "http://", "metrics-api"],
    ),
    (
        "autoscaling: {type: keda, keda: {source: prometheus, prometheusAddress: 'http://prometheus:9090'}}",
        ["autoscaling.keda.source is prometheus", "set serviceMonitor.enabled", "keda.query"],
    ),
    (
        "autoscaling: {type: keda, keda: {prometheusAddress: 'http://prometheus:9090'}}",
        ["keda.prometheusAddress is set", "source is metrics-api", "set the source to prometheus"],
    ),
    (
        "autoscaling: {type: keda, keda: {query: sum(x)}}",
        ["keda.query is set", "source is metrics-api", "remove it"],
    ),
    (
        "{autoscaling: {type: keda, keda: {namespace: ''}}, networkPolicy: {enabled: true}}",
        ["keda.namespace is empty", "networkPolicy.enabled", "for example keda"],
    ),
    (
        f"{{canary: {{digest: {OTHER}}}, autoscaling: "
        "{type: keda, keda: {source: prometheus, prometheusAddress: 'http://p', query: sum(x)}}}",
        ['autoscaling.keda.query is "sum(x)"', "there is a canary", "@SERVICE@"],
    ),
    (
        "autoscaling: {type: keda, maxReplicas: 3, keda: {fallbackReplicas: 4}}",
        ["keda.fallbackReplicas is 4", "autoscaling.maxReplicas, 3", "lower the fallback"],
    ),
    *(
        (
            f"autoscaling: {{type: keda, keda: {{{setting}}}}}",
            [f"keda.{name} is set", "source is metrics-api", "set the source to prometheus"],
        )
        for name, setting in (
            ("authModes", "authModes: bearer"),
            ("authenticationRef", "authenticationRef: {name: prometheus}"),
        )
    ),
    (
        "autoscaling: {keda: {triggers: [{type: cron, metadata: {}}]}}",
        ["keda.triggers[0] is set", "autoscaling.type is hpa", "set the type to keda"],
    ),
    (
        f"{{canary: {{digest: {OTHER}}}, autoscaling: {{type: keda, keda: {{triggers: "
        "[{type: cron, metadata: {}}, {type: kafka, metadata: {topic: rows}}]}}}",
        ["keda.triggers[1], of type kafka", "there is a canary", "@SERVICE@"],
    ),
    *(
        (
            f"{{canary: {{digest: {OTHER}}}, autoscaling: {{metrics: [{{type: Pods}}, {{type: {kind}}}]}}}}",
            [f"autoscaling.metrics[1], of type {kind}", "there is a canary", "@SERVICE@"],
        )
        for kind in ("External", "Object")
    ),
    (
        "autoscaling: {type: none, metrics: [{type: Resource}]}",
        ["autoscaling.metrics", "set the type to hpa"],
    ),
    ("route: {enabled: true, hostnames: [a.example.com]}", ["route.parentRefs is empty", "set the Gateway"]),
    (
        "route: {enabled: true, requestTimeoutSeconds: 16}",
        ["route.requestTimeoutSeconds is 16", "server.shutdownTimeoutSeconds, 15", "raise the server's"],
    ),
    (
        "{server: {shutdownTimeoutSeconds: 14}, route: {enabled: true}}",
        ["route.requestTimeoutSeconds is 15", "server.shutdownTimeoutSeconds, 14", "Lower the route's"],
    ),
    ("route: {enabled: true, parentRefs: [{name: g}]}", ["route.hostnames is empty", "Set a host name"]),
    *(
        (
            f"route: {{enabled: true, parentRefs: [{{name: g}}], hostnames: ['{host}']}}",
            [f'route.hostnames has "{host}"', *parts],
        )
        for host, parts in (
            ("https://a.example.com", ["without scheme"]),
            ("a.example.com:8443", ["port"]),
            ("a.example.com/v2", ["path"]),
            ("A.example.com", ["lower case"]),
            ("10.0.0.1", ["an IP address", "set a host name"]),
        )
    ),
    ("backendTrafficPolicy: {enabled: true}", ["no route", "set route.enabled"]),
    (
        "{server: {maxQueueDelaySeconds: 3}, backendTrafficPolicy: {enabled: true}, route: {enabled: true}}",
        ["perRetryTimeoutSeconds is 3", "server.maxQueueDelaySeconds, 3", "Raise the first"],
    ),
    (
        "{route: {enabled: true, requestTimeoutSeconds: 3}, backendTrafficPolicy: {enabled: true}}",
        ["perRetryTimeoutSeconds is 3", "route.requestTimeoutSeconds, 3", "Lower the first"],
    ),
    ("resources: {requests: {cpu: '2'}}", ["resources.requests.cpu is 2", "lower the request"]),
    ("resources: {requests: {cpu: 1500m}, limits: {cpu: 1}}", ["requests.cpu is 1500m", "limits.cpu, 1"]),
    ("resources: {requests: {memory: 2Gi}}", ["resources.requests.memory is 2Gi", "1Gi"]),
    ("resources: {limits: {memory: 500M}}", ["resources.requests.memory is 512Mi", "500M"]),
    *(
        (
            f"{{podDisruptionBudget: {{maxUnavailable: {number}}}}}",
            [f"podDisruptionBudget.maxUnavailable is {number}", "no node", "set 1 or more"],
        )
        for number in ("0", "0%")
    ),
    *(
        (
            f"{{autoscaling: {{minReplicas: 2}}, podDisruptionBudget: {{minAvailable: {number}}}}}",
            [f"podDisruptionBudget.minAvailable is {number}", "minimum of 2 replicas", "Lower it"],
        )
        for number in ("2", "51%")
    ),
    (
        "rollingUpdate: {maxSurge: 0%}",
        ["rollingUpdate.maxSurge and rollingUpdate.maxUnavailable are both 0", "raise one"],
    ),
    ("server: {metricsPort: 8081}", ["server.metricsPort is 8081", "set another"]),
    ("server: {metricsPort: 8084}", ["server.metricsPort is 8084", "set another"]),
    ("server: {env: [{name: TIDEGATE_PAIRS_SAMPLE_RATE, value: '1'}]}", ["use server.pairsSampleRate"]),
    ("server: {env: [{name: TIDEGATE_REQUEST_SAMPLE_URL, value: x}]}", ["use server.requestSample.url"]),
    ("server: {env: [{name: TIDEGATE_SHADOW_HTTP_PORT, value: '1'}]}", ["sets TIDEGATE_SHADOW_HTTP_PORT"]),
    (
        "canary: {mirrorPercent: 5}",
        ["canary.mirrorPercent is 5", "no canary", "set canary.digest", "no route", "set route.enabled"],
    ),
    (
        f"canary: {{digest: {OTHER}, weight: 100, mirrorPercent: 5}}",
        ["canary.mirrorPercent is 5 and canary.weight is 100", "set canary.mirrorPercent to 0"],
    ),
    (
        "canary: {splitByReplicas: true}",
        ["canary.splitByReplicas is true", "no canary", "set canary.digest", "set service.enabled"],
    ),
    (
        f"{{service: {{enabled: true}}, canary: {{digest: {OTHER}, weight: 5, splitByReplicas: true}}}}",
        ["canary.splitByReplicas is true, and canary.weight is 5", "the two others to 0"],
    ),
    (
        "networkPolicy: {metricsFrom: [{podSelector: {}}]}",
        ["networkPolicy.metricsFrom is set", "set server.metricsPort"],
    ),
    ("server: {env: [{name: TIDEGATE_METRICS_PORT, value: '1'}]}", ["use server.metricsPort"]),
    ("podAnnotations: {a//b: x}", ['podAnnotations has the key "a//b"', "the only '/'"]),
    ("route: {annotations: {'': x}}", ['route.annotations has the key ""', "expected a name"]),
    ("serviceMonitor: {labels: {release: 'a b'}}", ['serviceMonitor.labels.release is "a b"', "expected"]),
    ("alerts: {labels: {release: 'a b'}}", ['alerts.labels.release is "a b"', "expected"]),
    ("dashboard: {labels: {folder: 'My team'}}", ['dashboard.labels.folder is "My team"', "expected"]),
]

# Values that the schema rejects; Helm's message names the value.
SCHEMA = [
    ("modle: {}", "modle"),
    ("model: {url: s3://x/y}", "url"),
    ("model: {digest: 12}", "digest"),
    ("canary: {weight: 101}", "weight"),
    ("canary: {weight: -1}", "weight"),
    ("canary: {weight: 12.5}", "weight"),
    ("canary: {percent: 5}", "percent"),
    ("server: {engine: fast}", "engine"),
    ("server: {drainSeconds: 10s}", "drainSeconds"),
    ("server: {trustedTypes: ['a b']}", "trustedTypes"),
    ("server: {preStop: {}}", "preStop"),
    ("server: {env: [{value: x}]}", "/server/env/0.*name"),
    ("server: {env: [{name: '', value: x}]}", "/server/env/0/name"),
    ("server: {env: [{name: A, value: 1}]}", "/server/env/0/value.*want string"),
    ("autoscaling: {behavior: {scaledown: {}}}", "behavior.*scaledown"),
    ("autoscaling: {behavior: {scaleDown: {policy: []}}}", "scaleDown.*policy"),
    ("autoscaling: {behavior: {scaleDown: {policies: []}}}", "scaleDown/policies"),
    ("autoscaling: {behavior: {scaleDown: {selectPolicy: max}}}", "selectPolicy.*Max"),
    (
        "autoscaling: {behavior: {scaleDown: {stabilizationWindowSeconds: 3601}}}",
        "stabilizationWindowSeconds",
    ),
    *(
        (f"autoscaling: {{behavior: {{scaleUp: {{policies: [{policy}]}}}}}}", match)
        for policy, match in (
            ("{type: Pods, value: 0, periodSeconds: 15}", "policies/0/value"),
            ("{type: Pods, value: 1, periodSeconds: 0}", "policies/0/periodSeconds"),
            ("{type: Pods, value: 1, periodSeconds: 1801}", "policies/0/periodSeconds"),
            ("{type: Replicas, value: 1, periodSeconds: 15}", "policies/0/type"),
            ("{type: Pods, value: 1}", "policies/0.*periodSeconds"),
        )
    ),
    ("networkPolicy: {cloudIdentity: aws}", "cloudIdentity.*aws-irsa"),
    ("autoscaling: {type: kpa}", "type"),
    ("autoscaling: {minReplicas: 0}", "minReplicas"),
    ("autoscaling: {targetCPUUtilization: 0}", "targetCPUUtilization"),
    ("resources: {requests: {cpu: half}}", "cpu"),
    ("resources: {limits: {cpu: null}}", "/resources/limits.*cpu"),
    ("resources: {requests: {gpu: 1}}", "gpu"),
    ("image: {pullPolicy: Sometimes}", "pullPolicy"),
    ("route: {parentRefs: [{namespace: x}]}", "name"),
    ("topologySpreadConstraints: [{maxSkew: 1}]", "topologyKey"),
    (
        "topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: Never}]",
        "whenUnsatisfiable.*DoNotSchedule.*ScheduleAnyway",
    ),
    ("alerts: {errorRatio: 2}", "errorRatio"),
    ("serviceMonitor: {interval: 15}", "interval"),
    ("replicaCount: 3", "replicaCount"),
]


@pytest.mark.parametrize(("values", "parts"), MESSAGES, ids=[values for values, _ in MESSAGES])
def test_render_invalid_values_name_the_value_and_the_fix(values, parts) -> None:
    with pytest.raises(InvalidValuesError) as caught:
        render(merged(GOOD, yaml.safe_load(values)))
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(("values", "match"), SCHEMA, ids=[values for values, _ in SCHEMA])
def test_render_schema_error_names_the_value(values, match) -> None:
    with pytest.raises(InvalidValuesError, match=match):
        render(merged(GOOD, yaml.safe_load(values)))


def test_render_reports_every_invalid_value_at_once() -> None:
    with pytest.raises(InvalidValuesError) as caught:
        render({"image": {"digest": "abc"}})
    for name in ("model.uri", "model.digest", "image.digest"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("release", "namespace", "match"),
    [
        ("1model", "models", "a letter first"),
        ("my.model", "models", "a letter first"),
        ("breast-cancer-canary", "models", "canary of another release"),
        ("a" * 30, "b" * 23, "at most 63 characters"),
    ],
)
def test_render_name_invalid_for_kserve_fails(release, namespace, match) -> None:
    with pytest.raises(InvalidValuesError, match=match):
        render(GOOD, release=release, namespace=namespace)


def test_render_names_fit_up_to_the_limit() -> None:
    assert render(GOOD, release="a" * 30, namespace="b" * 22)
    canary = merged(GOOD, {"canary": {"digest": OTHER}})
    assert render(canary, release="a" * 30, namespace="b" * 15)
    with pytest.raises(InvalidValuesError, match="a-canary"):
        render(canary, release="a" * 30, namespace="b" * 16)


def test_render_fullname_override_replaces_the_name() -> None:
    assert render(merged(GOOD, {"fullnameOverride": "model"}), release="1model")

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Values that extend the objects of the charts with pods: metadata, pods and images.

They add to what the chart sets, and a value that would replace it is rejected.
"""

from typing import Any

import pytest
import yaml

from tests.charts.chart import (
    HELM,
    InvalidValuesError,
    Object,
    Values,
    containers,
    of_kind,
    pod_checksums,
    pod_specs,
    render,
)
from tests.charts.conftest import merged
from tests.charts.test_examples import CI_FILES, POD_CHARTS, schema_of
from tests.charts.test_release import least

MARK = {"example.com/mark": "x"}
METADATA: Values = {
    "commonLabels": {"team": "fraud"},
    "commonAnnotations": {"example.com/owner": "fraud"},
    "podAnnotations": {"sidecar.istio.io/inject": "false"},
}


def kinds(chart: str) -> list[str]:
    """Return the kinds that the value objectMetadata names."""
    [pattern] = schema_of(chart)["properties"]["objectMetadata"]["patternProperties"]
    return pattern.strip("^()$").split("|")


def all_objects(chart: str, more: Values) -> list[Object]:
    """Render every values file in ``ci/`` with more values."""
    files = [path for path in CI_FILES if path.parent.parent.name == chart]
    return [item for path in files for item in render(merged(yaml.safe_load(path.read_text()), more), chart)]


def extended(chart: str) -> Values:
    return yaml.safe_load((HELM / chart / "ci" / "extended-values.yaml").read_text())


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_every_object_has_the_common_labels_and_annotations(chart: str) -> None:
    marks = {kind: {"labels": MARK, "annotations": MARK} for kind in kinds(chart)}
    objects = all_objects(chart, merged(METADATA, {"objectMetadata": marks}))
    assert {item["kind"] for item in objects} == set(kinds(chart))
    for item in objects:
        metadata = item["metadata"]
        assert (MARK | METADATA["commonLabels"]).items() <= metadata["labels"].items(), item["kind"]
        assert (MARK | METADATA["commonAnnotations"]).items() <= metadata["annotations"].items(), item["kind"]


@pytest.mark.parametrize("chart", ["tidegate-training", "tidegate-loadtest"])
def test_pods_of_jobs_have_the_common_labels_and_annotations(chart: str) -> None:
    for item in all_objects(chart, METADATA):
        spec = item.get("spec", {}).get("jobTemplate", item).get("spec", {})
        if item["kind"] in ("Job", "CronJob"):
            pod = spec["template"]["metadata"]
            assert METADATA["commonLabels"].items() <= pod["labels"].items()
            assert pod["annotations"] == METADATA["commonAnnotations"] | METADATA["podAnnotations"]


def test_metadata_that_reaches_the_pods_changes_the_checksum() -> None:
    def checksum(more: Values) -> str:
        [sum_of_pods] = pod_checksums(render(merged(least("tidegate"), more))).values()
        return sum_of_pods

    changes: list[Values] = [
        {},
        *({key: METADATA[key]} for key in METADATA),
        {"objectMetadata": {"InferenceService": {"labels": MARK}}},
        {"objectMetadata": {"InferenceService": {"annotations": MARK}}},
    ]
    assert len({checksum(change) for change in changes}) == len(changes)
    assert checksum({"objectMetadata": {"HorizontalPodAutoscaler": {"labels": MARK}}}) == checksum({})


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_every_container_has_the_variables_and_mounts(chart: str) -> None:
    values = extended(chart)
    pods = pod_specs(render(values, chart))
    assert pods
    for name, pod in pods.items():
        own = [item for item in containers(pod) if item["name"] not in ("proxy", "agent")]
        for item in own:
            assert item["env"][-2:] == values["extraEnv"], name
            assert item["envFrom"][0] == values["extraEnvFrom"][0], name
            assert item["volumeMounts"][-1] == values["extraVolumeMounts"][0], name
            assert item["image"].startswith("mirror.example.com/"), name
        assert pod["volumes"][-1] == values["extraVolumes"][0], name
        assert pod["imagePullSecrets"] == [{"name": "mirror-credentials"}], name
        assert values["extraPodSpec"].items() <= pod.items(), name
        # The sidecar is first, so that the chart's init container can use it.
        assert pod["initContainers"][0]["name"] == "proxy", name


def test_sidecar_of_replicas_keeps_the_helm_test_ending() -> None:
    pods = pod_specs(render(extended("tidegate")))
    names = {name: [item["name"] for item in pod["containers"]] for name, pod in pods.items()}
    assert names == {
        "InferenceService/demo": ["kserve-container", "agent"],
        "Pod/demo-golden": ["golden"],
    }


def test_additional_container_has_the_charts_security_context() -> None:
    own_context = {"capabilities": {"add": ["NET_BIND_SERVICE"]}, "readOnlyRootFilesystem": False}
    agent = {"name": "agent", "image": "agent", "securityContext": own_context}
    values = merged(extended("tidegate"), {"extraContainers": [agent]})
    [isvc] = of_kind(render(values), "InferenceService").values()
    own, agent = isvc["spec"]["predictor"]["containers"]
    proxy = isvc["spec"]["predictor"]["initContainers"][0]
    assert proxy["securityContext"] == own["securityContext"]
    assert agent["securityContext"] == own["securityContext"] | {
        "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
        "readOnlyRootFilesystem": False,
    }


@pytest.mark.parametrize(
    ("repository", "image"),
    [
        ("tidegate/serving", "mirror.example.com/tidegate/serving:1"),
        ("registry.example.com/tidegate/serving", "mirror.example.com/tidegate/serving:1"),
        ("localhost:5000/serving", "mirror.example.com/serving:1"),
        ("localhost/serving", "mirror.example.com/serving:1"),
    ],
)
def test_global_registry_replaces_the_images_registry(repository: str, image: str) -> None:
    values = {
        "image": {"repository": repository, "tag": "1"},
        "global": {"imageRegistry": "mirror.example.com/"},
    }
    for pod in pod_specs(render(merged(least("tidegate"), values))).values():
        assert {item["image"] for item in containers(pod)} == {image}


def test_global_pull_secrets_join_the_charts() -> None:
    secrets = [{"name": "a"}, {"name": "b"}]
    values = {"imagePullSecrets": secrets, "global": {"imagePullSecrets": ["b", {"name": "c"}]}}
    for pod in pod_specs(render(merged(least("tidegate"), values))).values():
        assert pod["imagePullSecrets"] == [*secrets, {"name": "c"}]


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_additional_objects_are_maps_or_templates(chart: str) -> None:
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ .Release.Name }}-a', labels: {team: b}}}"
    as_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "z"}, "data": {"a": "{{ b }}"}}
    values = merged(least(chart), METADATA | {"extraObjects": [text, as_map]})
    added = of_kind(render(values, chart), "ConfigMap")
    assert added["demo-a"]["metadata"]["labels"] == {"team": "b"}
    assert added["z"]["metadata"]["labels"] == METADATA["commonLabels"]
    assert added["z"]["metadata"]["annotations"] == METADATA["commonAnnotations"]
    assert added["z"]["data"] == as_map["data"]


@pytest.mark.parametrize("chart", POD_CHARTS)
def test_disk_is_reserved_and_limited_on_request(chart: str) -> None:
    amounts = {"requests": {"ephemeral-storage": "1Gi"}, "limits": {"ephemeral-storage": "2Gi"}}
    nested = {"master": amounts, "worker": amounts} if chart == "tidegate-loadtest" else amounts
    for pod in pod_specs(render(merged(least(chart), {"resources": nested}), chart)).values():
        for item in containers(pod):
            assert item["resources"]["limits"]["ephemeral-storage"] == "2Gi"
    for pod in pod_specs(render(least(chart), chart)).values():
        for item in containers(pod):
            assert "ephemeral-storage" not in str(item["resources"])


@pytest.mark.parametrize("chart", ["tidegate-training", "tidegate-loadtest"])
def test_topology_spread_selects_the_pods_of_one_job(chart: str) -> None:
    constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    values = merged(least(chart), {"topologySpreadConstraints": [constraint]})
    for job in of_kind(render(values, chart), "Job").values():
        template = job["spec"]["template"]
        [rendered] = template["spec"]["topologySpreadConstraints"]
        assert constraint.items() <= rendered.items()
        assert rendered["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        # The Job controller gives this label to the pods of one Job.
        assert rendered["matchLabelKeys"] == ["batch.kubernetes.io/controller-uid"]


REJECTED = [
    ("commonLabels: {app.kubernetes.io/name: x}", ["commonLabels sets app.kubernetes.io/name", "remove it"]),
    ("commonLabels: {team: 'a b'}", ['commonLabels.team is "a b"', "expected"]),
    ("commonAnnotations: {helm.sh/hook: test}", ["commonAnnotations sets helm.sh/hook", "remove it"]),
    ("podAnnotations: {checksum/pods: x}", ["podAnnotations sets checksum/pods", "remove it"]),
    (
        "objectMetadata: {ServiceAccount: {annotations: {serving.kserve.io/autoscalerClass: hpa}}}",
        ["objectMetadata.ServiceAccount.annotations sets serving.kserve.io/autoscalerClass", "remove it"],
    ),
    (
        "objectMetadata: {ServiceAccount: {labels: {app.kubernetes.io/instance: x}}}",
        ["objectMetadata.ServiceAccount.labels sets app.kubernetes.io/instance"],
    ),
    ("objectMetadata: {Deployment: {labels: {a: b}}}", ["'/objectMetadata'", "'Deployment' not allowed"]),
    ("extraPodSpec: {containers: []}", ["extraPodSpec sets containers", "use extraContainers"]),
    ("extraPodSpec: {volumes: []}", ["extraPodSpec sets volumes", "use extraVolumes"]),
    ("extraPodSpec: {nodeSelector: {a: b}}", ["extraPodSpec sets nodeSelector", "use nodeSelector"]),
    ("extraPodSpec: {securityContext: {}}", ["extraPodSpec sets securityContext", "use podSecurityContext"]),
    (
        "extraPodSpec: {terminationGracePeriodSeconds: 1}",
        ["extraPodSpec sets terminationGracePeriodSeconds", "the chart itself decides", "remove it"],
    ),
    ("extraPodSpec: {automountServiceAccountToken: true}", ["automountServiceAccountToken", "remove it"]),
    ("extraPodSpec: {hostNetwork: true}", ["hostNetwork", "Pod Security Standard", "remove it"]),
    ("extraPodSpec: {hostAlias: []}", ["hostAlias", "is not a field", "hostAliases"]),
    (
        "{extraVolumes: [{name: tmp, emptyDir: {}}]}",
        ['extraVolumes has "tmp"', "another volume", "use another name"],
    ),
    (
        "{extraVolumes: [{name: a, emptyDir: {}}, {name: a, emptyDir: {}}]}",
        ['extraVolumes has "a"', "another volume"],
    ),
    (
        "extraVolumes: [{name: a, hostPath: {path: /}}]",
        ["type hostPath", "Pod Security Standard", "configMap"],
    ),
    (
        "extraVolumeMounts: [{name: tmp, mountPath: /scratch}]",
        ['extraVolumeMounts mounts "tmp"', "a volume in extraVolumes"],
    ),
    *(
        (
            "{extraVolumes: [{name: a, emptyDir: {}}], "
            f"extraVolumeMounts: [{{name: a, mountPath: {path}}}]}}",
            [f'mounts "a" at {path}', "/tmp", "mount it elsewhere"],
        )
        for path in ("/tmp", "/tmp/", "/tmp/a", "/")
    ),
    *(
        (
            f"extraInitContainers: [{{name: a, image: b, securityContext: {{{field}}}}}]",
            ['extraInitContainers has "a"', name, "Pod Security Standard", "remove it"],
        )
        for field, name in (
            ("privileged: true", "privileged: true"),
            ("runAsUser: 0", "runAsUser: 0"),
            ("runAsNonRoot: false", "runAsNonRoot: false"),
            ("allowPrivilegeEscalation: true", "allowPrivilegeEscalation: true"),
            ("capabilities: {add: [NET_ADMIN]}", "capabilities.add"),
            ("capabilities: {drop: [KILL]}", "capabilities.drop without ALL"),
            ("seccompProfile: {type: Unconfined}", "seccompProfile"),
        )
    ),
    (
        "extraContainers: [{name: a, image: b, ports: [{containerPort: 80, hostPort: 80}]}]",
        ['extraContainers has "a" with a hostPort', "remove it"],
    ),
    (
        "extraInitContainers: [{name: storage-initializer, image: b}]",
        ['has "storage-initializer"', "another container", "use another name"],
    ),
    (
        "extraContainers: [{name: a, image: b}, {name: a, image: c}]",
        ['extraContainers has "a"', "another container"],
    ),
    (
        "{extraVolumes: [{name: a, emptyDir: {}}], extraVolumeMounts: [{name: a, mountPath: //tmp}]}",
        ['mounts "a" at //tmp', "mount it elsewhere"],
    ),
    ("global: {imageRegistry: 'https://mirror.example.com'}", ["imageRegistry"]),
    ("alerts: {ruleLabels: {pod: a}}", ["invalid propertyName 'pod'"]),
    ("extraEnv: [{name: A, value: 1}]", ["extraEnv"]),
    ("extraObjects: [{kind: ConfigMap}]", ["extraObjects[0] lacks apiVersion", "correct it"]),
    (
        'extraObjects: ["{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\\n---\\n{kind: b}"]',
        ["extraObjects[0] lacks apiVersion", "not one object"],
    ),
    ("extraObjects: ['a: b: c']", ["extraObjects[0] lacks apiVersion", "correct it. error"]),
    ("extraEnv: [{name: 1A, value: x}]", ['extraEnv has a variable "1A"', "no digit first"]),
    ("extraEnv: [{name: 'A B', value: x}]", ['extraEnv has a variable "A B"', "expected letters"]),
    (
        "extraVolumes: [{name: a, secret: {secretName: b}, configMap: {name: b}}]",
        ['extraVolumes has "a" with the types configMap and secret', "keep one"],
    ),
    ("extraEnv: [{name: A, value: '1'}, {name: A, value: '2'}]", ["extraEnv sets A", "remove it"]),
]


@pytest.mark.parametrize(("values", "parts"), REJECTED, ids=[values for values, _ in REJECTED])
def test_extension_that_replaces_or_weakens_is_rejected(values: str, parts: list[str]) -> None:
    with pytest.raises(InvalidValuesError) as caught:
        render(merged(least("tidegate"), yaml.safe_load(values)))
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("chart", POD_CHARTS)
@pytest.mark.parametrize(
    ("values", "part"),
    [
        (
            {"objectMetadata": {"ServiceAccount": {"labels": {"batch.kubernetes.io/a": "b"}}}},
            "selects objects",
        ),
        ({"extraPodSpec": {"containers": []}}, "use extraContainers"),
        ({"extraObjects": [{}]}, "lacks apiVersion"),
    ],
)
def test_every_chart_rejects_what_weakens_it(chart: str, values: Values, part: str) -> None:
    with pytest.raises(InvalidValuesError, match=part):
        render(merged(least(chart), values), chart)


VARIABLES = [
    ("tidegate", "TIDEGATE_ENGINE"),
    ("tidegate", "TIDEGATE_PREDICTOR"),
    ("tidegate", "TIDEGATE_HTTP_PORT"),
    ("tidegate", "PYTHONPATH"),
    *((chart, "AWS_REGION") for chart in POD_CHARTS),
]


@pytest.mark.parametrize(("chart", "name"), VARIABLES)
def test_variable_that_the_chart_sets_is_rejected(chart: str, name: str) -> None:
    values: dict[str, Any] = {
        "objectStore": {"region": "eu-central-1"},
        "extraEnv": [{"name": name, "value": "x"}],
    }
    with pytest.raises(InvalidValuesError, match=f"sets {name}"):
        render(merged(least(chart), values), chart)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The InferenceServices of helm/tidegate in KServe's Standard mode."""

import copy
from typing import Any

import jsonschema
import pytest

from tests.charts.chart import (
    Object,
    Values,
    containers,
    environment,
    load,
    of_kind,
    pod_specs,
    render,
    replica_labels,
    selects,
    validated,
)
from tests.charts.conftest import DIGEST, IMAGE, OTHER, merged


def track(values: Values, name: str = "demo", **options: Any) -> Object:
    return of_kind(render(values, **options), "InferenceService")[name]


def predictor(values: Values, name: str = "demo") -> Object:
    return track(values, name)["spec"]["predictor"]


def server(values: Values, name: str = "demo") -> Object:
    [container] = predictor(values, name)["containers"]
    return container


def puller(values: Values, name: str = "demo") -> Object:
    [container] = predictor(values, name)["initContainers"]
    return container


def test_uri_and_digest_are_sufficient(minimal) -> None:
    kinds = sorted(item["kind"] for item in render(minimal))
    assert kinds == [
        "HorizontalPodAutoscaler",
        "InferenceService",
        "Pod",
        "PodDisruptionBudget",
        "ServiceAccount",
    ]


def test_inference_service_schema_rejects_unknown_fields(minimal) -> None:
    wrong = copy.deepcopy(track(minimal))
    wrong["spec"]["predictor"]["canaryTrafficPercents"] = 20
    with pytest.raises(jsonschema.ValidationError):
        validated(wrong)


def test_deployment_mode_standard_is_always_set(minimal, two_tracks) -> None:
    for isvc in of_kind(render(two_tracks), "InferenceService").values():
        assert isvc["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"


def test_kserve_creates_no_route(two_tracks) -> None:
    for isvc in of_kind(render(two_tracks), "InferenceService").values():
        assert isvc["metadata"]["labels"]["networking.kserve.io/visibility"] == "cluster-local"


def test_kserve_canary_traffic_percent_is_never_set(two_tracks) -> None:
    for isvc in of_kind(render(two_tracks), "InferenceService").values():
        assert "canaryTrafficPercent" not in isvc["spec"]["predictor"]
        assert isvc["spec"].keys() == {"predictor"}


def test_pod_labels_do_not_change_with_the_chart_version(minimal, tmp_path) -> None:
    folder = load("tidegate").save_dir(tmp_path)
    chart = tmp_path / "tidegate" / "Chart.yaml"
    assert str(chart.parent) == folder
    text = chart.read_text()
    version = load("tidegate").version
    assert f"\nversion: {version}\n" in text
    chart.write_text(text.replace(f"\nversion: {version}\n", "\nversion: 99.0.0\n"))
    import helm_python
    import yaml

    with helm_python.Chart.load(folder) as bumped:
        rendered = bumped.render(minimal, name="demo", namespace="models")
    assert "tidegate-99.0.0" in rendered["tidegate/templates/common/serviceaccount.yaml"]
    assert yaml.safe_load(rendered["tidegate/templates/inferenceservice.yaml"]) == track(minimal)


def test_tracks_share_the_model_name_and_differ_in_digest(two_tracks) -> None:
    digests = {"demo": DIGEST, "demo-canary": OTHER}
    for name, digest in digests.items():
        assert server(two_tracks, name)["args"] == [
            "serve",
            "/mnt/models/bundle",
            "--digest",
            digest,
            "--name",
            "breast-cancer",
        ]
        assert puller(two_tracks, name)["args"] == [
            "pull",
            f"s3://models/breast-cancer@sha256:{digest}",
            "/mnt/models/bundle",
        ]


def test_digest_with_algorithm_prefix_renders_the_same(minimal) -> None:
    prefixed = merged(minimal, {"model": {"digest": f"sha256:{DIGEST}"}})
    assert render(prefixed) == render(minimal)


def test_model_name_can_be_overridden(minimal) -> None:
    assert server(merged(minimal, {"model": {"name": "tumour"}}))["args"][-1] == "tumour"


def test_model_name_like_a_yaml_literal_stays_a_string(minimal) -> None:
    values = merged(
        minimal, {"model": {"uri": "s3://models/on", "name": "1e3"}, "objectStore": {"secretName": "no"}}
    )
    objects = render(values, release="y")
    assert "y" in of_kind(objects, "InferenceService")
    assert server_of(objects, "y")["args"][-1] == "1e3"


def server_of(objects: list[Object], name: str) -> Object:
    [container] = of_kind(objects, "InferenceService")[name]["spec"]["predictor"]["containers"]
    return container


def test_init_container_has_the_name_that_kserve_reports(minimal) -> None:
    container = puller(minimal)
    assert container["name"] == "storage-initializer"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_object_store_credentials_are_in_the_init_container_only(minimal) -> None:
    store = {
        "secretName": "model-store",
        "endpoint": "http://store.storage:9000",
        "region": "eu-central-1",
        "caConfigMap": "company-ca",
        "httpsProxy": "http://proxy:3128",
        "noProxy": ".svc",
    }
    values = merged(minimal, {"objectStore": store})
    assert puller(values)["envFrom"] == [{"secretRef": {"name": "model-store"}}]
    assert environment(puller(values)) == {
        "AWS_ENDPOINT_URL": "http://store.storage:9000",
        "AWS_REGION": "eu-central-1",
        "HTTPS_PROXY": "http://proxy:3128",
        "NO_PROXY": ".svc",
        "SSL_CERT_FILE": "/etc/store-ca/ca.crt",
    }
    assert server(values) == server(minimal)


def test_server_mounts_the_bundle_read_only(minimal) -> None:
    mounts = {mount["name"]: mount for mount in server(minimal)["volumeMounts"]}
    assert mounts["model"]["readOnly"] is True
    assert set(mounts) == {"model", "tmp"}


def test_service_links_are_disabled(minimal) -> None:
    # A Service called tidegate-http would set TIDEGATE_HTTP_PORT, which is an option of the server.
    assert predictor(minimal)["enableServiceLinks"] is False


def test_pvc_is_mounted_read_only_without_pull(two_tracks) -> None:
    values = merged(two_tracks, {"model": {"uri": "pvc://models/store/breast-cancer"}})
    for name, digest in {"demo": DIGEST, "demo-canary": OTHER}.items():
        pod = predictor(values, name)
        assert "initContainers" not in pod
        [volume] = [volume for volume in pod["volumes"] if volume["name"] == "model"]
        assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
        assert server(values, name)["args"][1] == f"/mnt/models/store/breast-cancer/{digest}"
        [mount] = [mount for mount in server(values, name)["volumeMounts"] if mount["name"] == "model"]
        assert mount == {"name": "model", "mountPath": "/mnt/models", "readOnly": True}


def test_pvc_with_the_store_at_its_root_is_valid(minimal) -> None:
    values = merged(minimal, {"model": {"uri": "pvc://models/breast-cancer"}})
    assert server(values)["args"][1] == f"/mnt/models/breast-cancer/{DIGEST}"


def test_image_volume_uses_the_digest_as_tag(two_tracks) -> None:
    values = merged(two_tracks, {"model": {"uri": "oci://registry.example.com:5000/models/breast-cancer"}})
    for name, digest in {"demo": DIGEST, "demo-canary": OTHER}.items():
        pod = predictor(values, name)
        assert "initContainers" not in pod
        [volume] = [volume for volume in pod["volumes"] if volume["name"] == "model"]
        assert volume["image"]["reference"] == f"registry.example.com:5000/models/breast-cancer:{digest}"
        [mount] = [mount for mount in server(values, name)["volumeMounts"] if mount["name"] == "model"]
        assert mount == {"name": "model", "mountPath": "/mnt/models/bundle", "readOnly": True}
        assert server(values, name)["args"][1] == "/mnt/models/bundle"


@pytest.mark.parametrize("scheme", ["s3", "pvc", "oci"])
def test_server_verifies_the_digest_for_every_scheme(minimal, scheme) -> None:
    values = merged(minimal, {"model": {"uri": f"{scheme}://models/store/breast-cancer"}})
    arguments = server(values)["args"]
    assert arguments[arguments.index("--digest") + 1] == DIGEST


@pytest.mark.parametrize(("drain", "timeout", "request_timeout"), [(10, 15, 15), (0, 1, 1), (60, 300, 30)])
def test_grace_period_is_computed_from_drain_and_timeout(routed, drain, timeout, request_timeout) -> None:
    slow = {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 600}]}}
    values = merged(
        routed,
        {
            "server": {"drainSeconds": drain, "shutdownTimeoutSeconds": timeout},
            "route": {"requestTimeoutSeconds": request_timeout},
            "autoscaling": {"behavior": slow},
        },
    )
    objects = render(values)
    pod = of_kind(objects, "InferenceService")["demo"]["spec"]["predictor"]
    assert pod["terminationGracePeriodSeconds"] == drain + timeout + 5
    assert environment(pod["containers"][0])["TIDEGATE_DRAIN_SECONDS"] == str(drain)
    assert environment(pod["containers"][0])["TIDEGATE_SHUTDOWN_TIMEOUT"] == str(timeout)
    for rule in of_kind(objects, "HTTPRoute")["demo"]["spec"]["rules"]:
        assert rule["timeouts"] == {"request": f"{request_timeout}s"}


def test_shutdown_timeout_without_a_route_needs_no_route_timeout(minimal) -> None:
    assert predictor(merged(minimal, {"server": {"shutdownTimeoutSeconds": 1}}))


def test_default_drain_fits_thirty_seconds(minimal) -> None:
    assert predictor(minimal)["terminationGracePeriodSeconds"] <= 30


def test_server_drains_without_pre_stop_hook(minimal) -> None:
    assert "lifecycle" not in server(minimal)


def test_rolling_update_has_no_unavailable_pod(minimal) -> None:
    rolling = predictor(minimal)["deploymentStrategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": "25%"}


def test_probes_send_http_requests(minimal) -> None:
    container = server(minimal)
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["startupProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


@pytest.mark.parametrize(("seconds", "tries"), [(180, 90), (2, 1), (3, 2)])
def test_startup_probe_covers_the_startup_timeout(minimal, seconds, tries) -> None:
    probe = server(merged(minimal, {"server": {"startupTimeoutSeconds": seconds}}))["startupProbe"]
    assert probe["failureThreshold"] == tries
    assert probe["failureThreshold"] * probe["periodSeconds"] >= seconds


def test_first_port_is_rest_and_second_is_named_for_grpc(minimal) -> None:
    ports = [(port["name"], port["containerPort"]) for port in server(minimal)["ports"]]
    assert ports == [("http", 8080), ("grpc", 8081)]


def test_server_options_are_plain_strings(minimal) -> None:
    options = {
        "maxRows": 100,
        "maxBodyBytes": 16777216,
        "maxQueueDelaySeconds": 0.25,
        "engine": "sklearn",
        "grpcTransport": "grpcio",
        "predictor": "loan_rules.predictor:LoanPredictor",
        "trustedTypes": ["a.B", "c.D"],
        "allowedJoblibDigests": [f"sha256:{DIGEST}"],
        "accessLog": True,
    }
    assert environment(server(merged(minimal, {"server": options}))) == {
        "TIDEGATE_DRAIN_SECONDS": "10",
        "TIDEGATE_SHUTDOWN_TIMEOUT": "15",
        "TIDEGATE_MAX_ROWS": "100",
        "TIDEGATE_MAX_BODY_BYTES": "16777216",
        "TIDEGATE_MAX_QUEUE_DELAY": "0.25",
        "TIDEGATE_ENGINE": "sklearn",
        "TIDEGATE_GRPC_TRANSPORT": "grpcio",
        "TIDEGATE_PREDICTOR": "loan_rules.predictor:LoanPredictor",
        "TIDEGATE_TRUSTED_TYPE": "a.B c.D",
        "TIDEGATE_ALLOW_JOBLIB_DIGEST": DIGEST,
        "TIDEGATE_ACCESS_LOG": "true",
    }


def test_init_container_requests_do_not_exceed_the_server(minimal) -> None:
    assert puller(minimal)["resources"] == server(minimal)["resources"]


def test_image_digest_replaces_the_tag(minimal) -> None:
    values = merged(
        minimal, {"image": {"repository": "registry.example.com/serving", "digest": f"sha256:{OTHER}"}}
    )
    images = {container["image"] for container in containers(predictor(values))}
    assert images == {f"registry.example.com/serving@sha256:{OTHER}"}


def test_image_tag_defaults_to_the_app_version(minimal) -> None:
    assert server(minimal)["image"] == f"{IMAGE['repository']}:{load('tidegate').metadata['appVersion']}"


def test_topology_spread_selects_the_pods_of_the_track(two_tracks) -> None:
    replicas = replica_labels(render(two_tracks))
    for name in replicas:
        [constraint] = predictor(two_tracks, name)["topologySpreadConstraints"]
        selector = constraint["labelSelector"]
        assert [pod for pod, labels in replicas.items() if selects(selector, labels)] == [name]


def test_topology_spread_keeps_its_own_selector(minimal) -> None:
    own = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"team": "a"}},
    }
    [constraint] = predictor(merged(minimal, {"topologySpreadConstraints": [own]}))[
        "topologySpreadConstraints"
    ]
    assert constraint == own


def test_pod_settings_are_set_on_the_pods(minimal) -> None:
    settings = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "production",
        "imagePullSecrets": [{"name": "registry"}],
    }
    assert settings.items() <= predictor(merged(minimal, settings)).items()


def test_pod_labels_are_not_labels_of_the_inference_service(minimal) -> None:
    objects = render(merged(minimal, {"podAnnotations": {"a": "b"}, "podLabels": {"c": "d"}}))
    isvc = of_kind(objects, "InferenceService")["demo"]
    assert isvc["spec"]["predictor"]["annotations"]["a"] == "b"
    assert isvc["spec"]["predictor"]["labels"] == {"c": "d"}
    assert "a" not in isvc["metadata"]["annotations"]
    assert "c" not in isvc["metadata"]["labels"]
    # The golden pod pulls with the same identity, and the label may select the identity.
    golden = of_kind(objects, "Pod")["demo-golden"]["metadata"]
    assert golden["labels"]["c"] == "d"
    assert golden["annotations"]["a"] == "b"


@pytest.mark.parametrize(
    ("account", "made", "used"),
    [
        ({}, ["demo"], "demo"),
        ({"name": "models"}, ["models"], "models"),
        ({"create": False, "name": "models"}, [], "models"),
        ({"create": False}, [], "default"),
    ],
)
def test_service_account_is_created_or_existing(minimal, account, made, used) -> None:
    objects = render(merged(minimal, {"serviceAccount": account}))
    assert list(of_kind(objects, "ServiceAccount")) == made
    assert of_kind(objects, "InferenceService")["demo"]["spec"]["predictor"]["serviceAccountName"] == used


def test_helm_test_pulls_the_bundle_and_tests_each_track(two_tracks) -> None:
    pods = of_kind(render(two_tracks), "Pod")
    assert set(pods) == {"demo-golden", "demo-canary-golden"}
    for name, pod in pods.items():
        isvc = name.removesuffix("-golden")
        [container] = pod["spec"]["containers"]
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert container["args"] == [
            "predict",
            "--url",
            f"http://{isvc}-predictor.models",
            "--model",
            "breast-cancer",
            "--golden",
            "/mnt/models/bundle",
        ]
        assert pod["spec"]["initContainers"][0]["args"] == puller(two_tracks, isvc)["args"]


@pytest.mark.parametrize(
    ("request_", "limit", "expected"),
    [("500m", "1", ("100m", "200m")), (2, 4, ("100m", "200m")), ("50m", "500m", ("50m", "500m"))],
)
def test_helm_test_has_little_cpu_in_the_servers_ratio(minimal, request_, limit, expected) -> None:
    cpu = {"resources": {"requests": {"cpu": request_}, "limits": {"cpu": limit}}}
    [pod] = of_kind(render(merged(minimal, cpu)), "Pod").values()
    for container in containers(pod["spec"]):
        amounts = container["resources"]
        assert (amounts["requests"]["cpu"], amounts["limits"]["cpu"]) == expected
        assert amounts["requests"]["memory"] == "512Mi"


def test_helm_test_has_the_servers_ephemeral_storage(minimal) -> None:
    own = {"resources": {"requests": {"ephemeral-storage": "1Gi"}, "limits": {"ephemeral-storage": "2Gi"}}}
    golden = pod_specs(render(merged(minimal, own)))["Pod/demo-golden"]
    for container in containers(golden):
        amounts = container["resources"]
        assert amounts["requests"]["ephemeral-storage"] == "1Gi"
        assert amounts["limits"]["ephemeral-storage"] == "2Gi"


def test_helm_test_loads_the_predictor_as_the_server_does(minimal) -> None:
    options = {
        "predictor": "loan_rules.predictor:LoanPredictor",
        "trustedTypes": ["a.B"],
        "allowedJoblibDigests": [DIGEST],
        "engine": "sklearn",
        "env": [{"name": "LOAN_LIMIT", "value": "5"}],
    }
    [pod] = of_kind(render(merged(minimal, {"server": options})), "Pod").values()
    [container] = pod["spec"]["containers"]
    given, served = environment(container), environment(server(merged(minimal, {"server": options})))
    assert given == {
        name: served[name]
        for name in (
            "TIDEGATE_ENGINE",
            "TIDEGATE_PREDICTOR",
            "TIDEGATE_TRUSTED_TYPE",
            "TIDEGATE_ALLOW_JOBLIB_DIGEST",
            "LOAN_LIMIT",
        )
    }
    [plain] = of_kind(render(minimal), "Pod").values()
    assert "env" not in plain["spec"]["containers"][0]


def test_helm_test_pod_is_not_selected_as_replica(two_tracks) -> None:
    objects = render(merged(two_tracks, {"networkPolicy": {"enabled": True}}))
    for pod in of_kind(objects, "Pod").values():
        labels = pod["metadata"]["labels"]
        assert labels["app.kubernetes.io/component"] not in ("stable", "canary")
        assert "serving.kserve.io/inferenceservice" not in labels


def test_two_releases_in_a_namespace_share_no_name(two_tracks) -> None:
    everything = merged(
        two_tracks,
        {
            "backendTrafficPolicy": {"enabled": True},
            "networkPolicy": {"enabled": True},
            "serviceMonitor": {"enabled": True},
            "alerts": {"enabled": True},
            "dashboard": {"enabled": True},
        },
    )

    def names(release: str) -> set[tuple[str, str]]:
        return {(item["kind"], item["metadata"]["name"]) for item in render(everything, release=release)}

    assert names("one")
    assert not names("one") & names("two")


def test_every_object_has_the_namespace_of_the_release(two_tracks) -> None:
    for item in render(two_tracks, namespace="elsewhere"):
        assert item["metadata"]["namespace"] == "elsewhere"

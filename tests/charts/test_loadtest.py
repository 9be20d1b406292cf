# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""helm/tidegate-loadtest: a campaign runs once, workers reach only the master, a failure fails the Job."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.config import incluster_config

from tests.charts.chart import (
    InvalidValuesError,
    Object,
    Values,
    containers,
    environment,
    notes,
    of_kind,
    render,
)
from tests.charts.conftest import DIGEST, merged
from tests.charts.live import created, upgrade
from tidegate.settings import load_yaml
from tidegate_loadtests.campaign import Campaign, Watch
from tidegate_loadtests.timeline.resources import RESOURCES, VERBS, deployment_name
from tidegate_loadtests.worker_pool import MASTER_PORT

LOAD: Values = {
    "campaign": {
        "connections": 64,
        "phases": [
            {
                "name": "load",
                "duration": 60,
                "load": {"model": "poisson", "rate": 1000000},
                "thresholds": {"max_p99_ms": 100},
            }
        ],
    },
    "url": "http://breast-cancer-predictor.models",
    "model": {"uri": "s3://models/breast-cancer", "digest": DIGEST},
    "image": {"repository": "registry.example.com/tidegate/loadtest"},
}


def objects(values: Values = LOAD, **options: Any) -> list[Object]:
    return render(values, "tidegate-loadtest", **{"release": "load", **options})


def jobs(values: Values = LOAD, **options: Any) -> tuple[Object, Object]:
    """Return the Jobs of the master and of the workers."""
    by_name = of_kind(objects(values, **options), "Job")
    (master,) = (job for name, job in by_name.items() if name.endswith("-master"))
    (workers,) = (job for name, job in by_name.items() if name.endswith("-worker"))
    assert len(by_name) == 2
    return master, workers


def pod(job: Object) -> Object:
    return job["spec"]["template"]["spec"]


def container(job: Object) -> Object:
    [only] = containers(pod(job))
    return only


def test_campaign_url_and_bundle_are_sufficient() -> None:
    kinds = sorted(item["kind"] for item in objects())
    assert kinds == ["ConfigMap", "Job", "Job", "Service", "ServiceAccount"]
    assert container(jobs()[0])["args"] == [
        *("loadtest", "run", "/etc/tidegate/campaign.yaml"),
        *("--url", "http://breast-cancer-predictor.models"),
        *("--bundle", f"s3://models/breast-cancer@sha256:{DIGEST}"),
        *("--expect-workers", "2", "--out", "/tmp/report"),
    ]


def test_model_name_and_push_are_passed_to_the_command() -> None:
    values = merged(LOAD, {"model": {"name": "eu"}, "push": "s3://models/loadtests"})
    arguments = container(jobs(values)[0])["args"]
    assert arguments[arguments.index("--name") + 1] == "eu"
    assert arguments[-2:] == ["--push", "s3://models/loadtests"]


def test_digest_with_algorithm_prefix_is_valid() -> None:
    values = merged(LOAD, {"model": {"digest": f"sha256:{DIGEST}"}})
    assert container(jobs(values)[0])["args"] == container(jobs()[0])["args"]


@pytest.mark.parametrize("text", [False, True])
def test_campaign_is_parsed_with_its_types(tmp_path, text: bool) -> None:
    campaign = LOAD["campaign"]
    values = merged(LOAD, {"campaign": yaml.safe_dump(campaign)}) if text else LOAD
    [config] = of_kind(objects(values), "ConfigMap").values()
    assert config["immutable"] is True
    (tmp_path / "campaign.yaml").write_text(config["data"]["campaign.yaml"])
    assert load_yaml(tmp_path / "campaign.yaml", Campaign) == Campaign.model_validate(campaign)


def test_file_text_is_rendered_byte_for_byte() -> None:
    text = "# mine\nphases:\n  - {name: a, duration: 20.0, load: {model: closed, users: 1}}\n"
    [config] = of_kind(objects(merged(LOAD, {"campaign": text})), "ConfigMap").values()
    assert config["data"] == {"campaign.yaml": text}


def test_job_of_a_failed_campaign_fails_without_retry() -> None:
    for job in jobs():
        assert job["spec"]["backoffLimit"] == 0
        assert pod(job)["restartPolicy"] == "Never"


def test_every_worker_has_a_pod_at_the_same_time() -> None:
    spec = jobs(merged(LOAD, {"workers": 5}))[1]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 5, 5)
    assert "completions" not in jobs()[0]["spec"]


def test_master_service_publishes_addresses_before_readiness() -> None:
    master, workers = jobs()
    [(name, service)] = of_kind(objects(), "Service").items()
    assert container(workers)["args"] == [
        *("loadtest", "worker", "--master-host", f"{name}.models", "--master-port", str(MASTER_PORT))
    ]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": master["metadata"]["name"]}
    [port] = service["spec"]["ports"]
    assert port["port"] == MASTER_PORT == container(master)["ports"][0]["containerPort"]


def test_only_the_master_has_the_stores_credentials() -> None:
    store = {
        "secretName": "model-store",
        "endpoint": "https://s3.example.com",
        "region": "eu-central-1",
        "caConfigMap": "company-ca",
    }
    master, workers = jobs(merged(LOAD, {"objectStore": store}))
    assert container(master)["envFrom"] == [{"secretRef": {"name": "model-store"}}]
    assert environment(container(master)) == {
        "AWS_ENDPOINT_URL": "https://s3.example.com",
        "AWS_REGION": "eu-central-1",
        "SSL_CERT_FILE": "/etc/store-ca/ca.crt",
    }
    assert not {"env", "envFrom"} & container(workers).keys()
    assert [volume["name"] for volume in pod(workers)["volumes"]] == ["tmp"]


def test_secret_of_the_headers_is_in_every_process() -> None:
    values = merged(LOAD, {"headerSecretName": "load-token", "objectStore": {"secretName": "model-store"}})
    master, workers = jobs(values)
    token = {"secretRef": {"name": "load-token"}}
    assert container(master)["envFrom"] == [{"secretRef": {"name": "model-store"}}, token]
    assert container(workers)["envFrom"] == [token]
    master, _ = jobs(merged(LOAD, {"headerSecretName": "load-token"}))
    assert container(master)["envFrom"] == [token]


def test_credentials_may_be_values_from_which_a_secret_is_made() -> None:
    values = merged(LOAD, {"objectStore": {"secretData": {"AWS_ACCESS_KEY_ID": "trial"}}})
    [(name, secret)] = of_kind(objects(values), "Secret").items()
    assert container(jobs(values)[0])["envFrom"] == [{"secretRef": {"name": name}}]
    assert secret["stringData"] == {"AWS_ACCESS_KEY_ID": "trial"}
    other = merged(LOAD, {"objectStore": {"secretData": {"AWS_ACCESS_KEY_ID": "other"}}})
    # A secret never becomes part of a name.
    assert jobs(values)[0]["metadata"]["name"] == jobs(other)[0]["metadata"]["name"]


def test_master_and_workers_have_resources_of_their_own() -> None:
    amounts = {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
    master, workers = jobs(merged(LOAD, {"resources": {"worker": amounts}}))
    assert container(workers)["resources"] == amounts
    assert container(master)["resources"] == container(jobs()[0])["resources"]


def test_unchanged_upgrade_keeps_the_campaign_name() -> None:
    assert objects() == objects()


@pytest.mark.parametrize(
    "change",
    [
        {"campaign": {"seed": 7}},
        {"url": "http://other.models"},
        {"model": {"digest": "0" * 64}},
        {"workers": 3},
        {"push": "s3://models/loadtests"},
        {"image": {"tag": "other"}},
        {"resources": {"worker": {"limits": {"memory": "1Gi"}}}},
    ],
    ids=str,
)
def test_changed_campaign_changes_every_name(change: Values) -> None:
    def names(values: Values) -> set[str]:
        return {
            item["metadata"]["name"]
            for item in objects(values)
            if item["kind"] in ("Job", "Service", "ConfigMap")
        }

    before, after = names(LOAD), names(merged(LOAD, change))
    assert len(before) == len(after) == 3  # the Service and the ConfigMap share the campaign's name
    assert not before & after


def test_campaign_names_differ_per_release_and_namespace() -> None:
    names = {
        jobs(LOAD, release=release, namespace=namespace)[0]["metadata"]["name"].split("-")[-2]
        for release in ("a", "b")
        for namespace in ("x", "y")
    }
    assert len(names) == 4


def test_pod_labels_do_not_change_with_the_chart_version() -> None:
    for job in jobs():
        labels = job["spec"]["template"]["metadata"]["labels"]
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & labels.keys()


def test_longest_release_name_gives_valid_names() -> None:
    values = merged(LOAD, {"workers": 999})
    for item in objects(values, release="a" * 40):
        assert len(item["metadata"]["name"]) <= 63 - len("-998")


def test_campaign_that_exists_is_not_replaced_to_run_elsewhere() -> None:
    live = [created(job) for job in jobs()]
    elsewhere = merged(LOAD, {"nodeSelector": {"disk": "ssd"}, "podLabels": {"team": "models"}})
    kept = of_kind(upgrade(elsewhere, "tidegate-loadtest", live, release="load"), "Job")
    assert len(kept) == 2
    for job in live:
        assert pod(kept[job["metadata"]["name"]]) == pod(job)


def test_campaign_has_no_time_to_live() -> None:
    with pytest.raises(InvalidValuesError, match="'ttlSecondsAfterFinished' not allowed"):
        objects(merged(LOAD, {"ttlSecondsAfterFinished": 60}))


def test_campaign_without_watch_has_no_role_and_no_token() -> None:
    for job in jobs():
        assert "api-token" not in [volume["name"] for volume in pod(job)["volumes"]]
    assert not {item["kind"] for item in objects()} & {"Role", "RoleBinding", "ClusterRole"}


WATCHED = merged(
    LOAD, {"campaign": {"target": {"watch": {"namespace": "serving", "inference_service": "iris"}}}}
)


def test_role_covers_exactly_the_requests_of_the_timeline() -> None:
    [(name, role)] = of_kind(objects(WATCHED), "Role").items()
    [binding] = of_kind(objects(WATCHED), "RoleBinding").values()
    granted = {
        (group, resource, tuple(rule.get("resourceNames", ()))): tuple(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    deployment = deployment_name(Watch(inference_service="iris"))
    assert granted == {
        (resource.group, resource.plural, (deployment,) if resource.by_name else ()): VERBS
        for resource in RESOURCES
    }
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "serving"
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", name)
    [account] = of_kind(objects(WATCHED), "ServiceAccount")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "models"}]


@pytest.mark.parametrize(
    ("watch", "namespace"),
    [({"deployment": "front"}, "default"), ({"deployment": "front", "namespace": "web"}, "web")],
    ids=str,
)
def test_watched_deployment_is_the_only_one_in_the_role(watch: Values, namespace: str) -> None:
    text = yaml.safe_dump(merged(LOAD["campaign"], {"target": {"watch": watch}}))
    [role] = of_kind(objects(LOAD | {"campaign": text}), "Role").values()
    [names] = [rule["resourceNames"] for rule in role["rules"] if rule["resources"] == ["deployments"]]
    assert names == [deployment_name(Watch.model_validate(watch))] == ["front"]
    assert role["metadata"]["namespace"] == Watch.model_validate(watch).namespace == namespace


def test_only_the_master_has_a_token() -> None:
    master, workers = jobs(WATCHED)
    [token] = [volume for volume in pod(master)["volumes"] if volume["name"] == "api-token"]
    paths = {
        key: source[key].get("path") or source[key]["items"][0]["path"]
        for source in token["projected"]["sources"]
        for key in source
    }
    assert paths == {"serviceAccountToken": "token", "configMap": "ca.crt", "downwardAPI": "namespace"}
    [mount] = [mount for mount in container(master)["volumeMounts"] if mount["name"] == "api-token"]
    assert Path(mount["mountPath"]) == Path(incluster_config.SERVICE_TOKEN_FILENAME).parent
    assert "api-token" not in [volume["name"] for volume in pod(workers)["volumes"]]
    for job in (master, workers):
        assert pod(job)["automountServiceAccountToken"] is False


def test_notes_show_how_to_follow_and_read_the_exit_code() -> None:
    master = jobs()[0]["metadata"]["name"]
    text = notes(LOAD, "tidegate-loadtest", "load")
    assert text.startswith("2 workers send requests to http://breast-cancer-predictor.models.")
    assert f"pod --selector batch.kubernetes.io/job-name={master}" in text
    assert f"logs --follow job/{master}" in text
    assert f"wait --for=condition=complete --timeout=1m job/{master}" in text
    assert f"--selector batch.kubernetes.io/job-name={master}" in text
    assert "The report is deleted with the pod" in text
    pushed = notes(
        merged(LOAD, {"push": "s3://models/loadtests/", "workers": 1}), "tidegate-loadtest", "load"
    )
    assert pushed.startswith("1 worker sends requests to ")
    assert "pushed to s3://models/loadtests/breast-cancer/<time>" in pushed


def test_watch_without_an_own_account_is_rejected() -> None:
    with pytest.raises(InvalidValuesError, match=r"serviceAccount has no account of its own"):
        objects(merged(WATCHED, {"serviceAccount": {"create": False}}))
    [binding] = of_kind(
        objects(merged(WATCHED, {"serviceAccount": {"create": False, "name": "load"}})), "RoleBinding"
    ).values()
    assert binding["subjects"][0]["name"] == "load"


MESSAGES = [
    ("campaign: null", ["campaign is not set", "--set-file campaign=loadtest.yaml"]),
    ("url: ''", ["url is not set", "--set url="]),
    ("url: breast-cancer.models:80", ['url is "breast-cancer.models:80"', "http://"]),
    ("model: {uri: ''}", ["model.uri is not set", "--set model.uri=s3://models/breast-cancer"]),
    ("model: {uri: pvc://claim/x}", ['model.uri is "pvc://claim/x"', "s3://"]),
    ("model: {uri: s3://models}", ["model.uri is", "the model's name"]),
    ("model: {uri: 's3://models/m:stable'}", ["model.uri is", "without a digest"]),
    ("model: {digest: ''}", ["model.digest is not set", "tidegate inspect"]),
    ("model: {digest: abc}", ['model.digest is "abc"', "64 digits"]),
    ("push: /reports", ['push is "/reports"', "s3://models/loadtests"]),
    ("objectStore: {secretName: a, secretData: {b: c}}", ["secretName and objectStore.secretData", "keep"]),
    (
        "{model: {uri: gs://models/m}, objectStore: {endpoint: 'https://x'}}",
        ['model.uri is "gs://models/m"', "remove the endpoint"],
    ),
    *(
        (f"resources: {{{pod}: {{requests: {{cpu: 4}}}}}}", [f"resources.{pod}.requests.cpu is 4", "lower"])
        for pod in ("master", "worker")
    ),
]


@pytest.mark.parametrize(("change", "parts"), MESSAGES, ids=[change for change, _ in MESSAGES])
def test_render_invalid_values_name_the_value_and_the_fix(change: str, parts: list[str]) -> None:
    parsed = yaml.safe_load(change)
    values = (
        {k: v for k, v in LOAD.items() if k != "campaign"} if "campaign" in parsed else merged(LOAD, parsed)
    )
    with pytest.raises(InvalidValuesError) as caught:
        objects(values)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("release", ["a" * 41, "my.load", "1load"])
def test_render_name_invalid_for_a_service_fails(release: str) -> None:
    with pytest.raises(InvalidValuesError, match="fullnameOverride"):
        objects(LOAD, release=release)


@pytest.mark.parametrize(
    "change",
    ["wrokers: 2", "workers: 0", "workers: 1000", "campaign: []", "resources: {worker: {limits: {cpu: x}}}"],
)
def test_render_schema_error_names_the_value(change: str) -> None:
    with pytest.raises(InvalidValuesError, match=change.partition(":")[0]):
        objects(merged(LOAD, yaml.safe_load(change)))


def test_network_policies_let_workers_reach_master_and_target() -> None:
    values = merged(WATCHED, {"networkPolicy": {"enabled": True}})
    master, worker = jobs(values)
    policies = {
        policy["spec"]["podSelector"]["matchLabels"]["batch.kubernetes.io/job-name"]: policy["spec"]
        for policy in of_kind(objects(values), "NetworkPolicy").values()
    }
    assert policies.keys() == {master["metadata"]["name"], worker["metadata"]["name"]}
    ends = {}
    for job in (master, worker):
        spec = policies[job["metadata"]["name"]]
        ends[job["metadata"]["name"]] = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
    # DNS and the target's Service and pods; only the master reaches the store and the API server.
    assert ends[worker["metadata"]["name"]] == {53, 5353, 80, 8080, 8081, MASTER_PORT}
    assert ends[master["metadata"]["name"]] == {53, 5353, 80, 8080, 8081, 443, 6443}
    [rule] = policies[master["metadata"]["name"]]["ingress"]
    assert rule["from"] == [
        {"podSelector": {"matchLabels": {"batch.kubernetes.io/job-name": worker["metadata"]["name"]}}}
    ]
    assert policies[worker["metadata"]["name"]]["ingress"] == []
    unwatched = of_kind(objects(merged(LOAD, {"networkPolicy": {"enabled": True}})), "NetworkPolicy")
    assert "6443" not in str(unwatched)


def test_network_policies_have_the_extra_rules() -> None:
    mesh = {"ports": [{"protocol": "TCP", "port": 15008}]}
    network = {"enabled": True, "ingress": [mesh], "egress": [mesh]}
    policies = of_kind(objects(merged(LOAD, {"networkPolicy": network})), "NetworkPolicy")
    assert len(policies) == 2
    for policy in policies.values():
        assert policy["spec"]["ingress"][-1] == policy["spec"]["egress"][-1] == mesh

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""helm/tidegate-training: Jobs retry only errors that a retry can fix."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.chart import InvalidValuesError, Object, Values, load, notes, of_kind, render, selects
from tests.charts.conftest import merged
from tests.charts.live import created, upgrade
from tidegate.errors import ExitCode
from tidegate.settings import load_yaml
from tidegate_training.config import TrainingConfig

CONFIG = {
    "name": "breast-cancer",
    "task": "classification",
    "data": {"dataset": "breast_cancer"},
    "algorithm": {"name": "LogisticRegression"},
}
IMAGE = {"repository": "registry.example.com/tidegate/training"}
ONCE: Values = {"config": CONFIG, "store": "s3://models", "image": IMAGE}
SEARCH = merged(
    ONCE,
    {
        "config": {"search": {"algorithms": [{"name": "GaussianNB"}], "trials": 16, "shards": 8}},
        "parallelism": 4,
    },
)
SWEEP = merged(ONCE, {"sweep": [{"seed": 1}, {"seed": 2}, {"algorithm": {"parameters": {"C": 0.1}}}]})


def objects(values: Values, **options: Any) -> list[Object]:
    return render(values, "tidegate-training", **{"release": "train", **options})


def upgraded(values: Values, jobs: list[Object]) -> list[Object]:
    return upgrade(values, "tidegate-training", jobs, release="train")


def job(values: Values, **options: Any) -> Object:
    [only] = of_kind(objects(values, **options), "Job").values()
    return only


def pod(values: Values) -> Object:
    return job(values)["spec"]["template"]["spec"]


def container(values: Values) -> Object:
    [only] = pod(values)["containers"]
    return only


def configurations(values: Values) -> dict[str, str]:
    [only] = of_kind(objects(values), "ConfigMap").values()
    return only["data"]


def test_config_and_store_are_sufficient() -> None:
    assert sorted(item["kind"] for item in objects(ONCE)) == ["ConfigMap", "Job", "ServiceAccount"]
    assert container(ONCE)["args"] == [
        "train",
        "/etc/tidegate/train.yaml",
        "--out",
        "/work/bundle",
        "--push",
        "s3://models",
    ]


def test_channel_and_extra_format_are_passed_to_the_command() -> None:
    arguments = container(merged(ONCE, {"channel": "candidate", "extraFormat": "joblib"}))["args"]
    assert arguments[-4:] == ["--channel", "candidate", "--extra-format", "joblib"]


def test_exit_codes_decide_what_is_tried_again() -> None:
    lost, wrong = job(ONCE)["spec"]["podFailurePolicy"]["rules"]
    assert lost == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert wrong["action"] == "FailJob"
    assert wrong["onExitCodes"] == {
        "containerName": container(ONCE)["name"],
        "operator": "In",
        "values": [ExitCode.BAD_INPUT, ExitCode.GATE_NOT_PASSED],
    }
    # A podFailurePolicy by exit code needs both.
    assert pod(ONCE)["restartPolicy"] == "Never"
    assert job(ONCE)["spec"]["podReplacementPolicy"] == "Failed"


def test_sweep_run_with_missed_gate_keeps_the_others_running() -> None:
    spec = job(SWEEP)["spec"]
    assert spec["podFailurePolicy"]["rules"][1]["action"] == "FailIndex"
    assert "backoffLimit" not in spec
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 2)
    assert spec["backoffLimitPerIndex"] == 3


def test_search_has_an_index_per_shard_and_one_that_trains() -> None:
    spec = job(SEARCH)["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 9, 4)
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"]) == (3, 0)
    assert spec["podFailurePolicy"]["rules"][1]["action"] == "FailJob"
    arguments = container(SEARCH)["args"]
    assert arguments[1] == "/etc/tidegate/train.yaml"
    assert arguments[-4:] == ["--trials", "s3://models/trials", "--shard", "$(JOB_COMPLETION_INDEX)"]


def test_search_as_text_has_the_same_job() -> None:
    assert job(merged(SEARCH, {"config": yaml.safe_dump(SEARCH["config"])}))["spec"].get("completions") == 9


def test_search_without_shards_keeps_its_trials_in_the_store() -> None:
    alone = merged(SEARCH, {"config": {"search": {"shards": 1}}})
    assert "completionMode" not in job(alone)["spec"]
    assert container(alone)["args"][-2:] == ["--trials", "s3://models/trials"]


def test_no_more_runs_at_once_than_there_are() -> None:
    assert job(merged(SWEEP, {"parallelism": 10}))["spec"]["parallelism"] == 3


def test_each_run_of_a_sweep_reads_its_own_configuration(tmp_path) -> None:
    assert container(SWEEP)["args"][1] == "/etc/tidegate/$(JOB_COMPLETION_INDEX).yaml"
    files = configurations(SWEEP)
    assert sorted(files) == ["0.yaml", "1.yaml", "2.yaml"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    runs = [load_yaml(tmp_path / name, TrainingConfig) for name in sorted(files)]
    assert [run.seed for run in runs] == [1, 2, 0]
    assert runs[2].algorithm.parameters == {"C": 0.1}


def test_config_map_is_rendered_unchanged(tmp_path) -> None:
    config = merged(
        CONFIG,
        {"seed": 4294967295, "gates": {"test.f1": ">= 0.9"}, "model_card": {"limitations": "a < b & c"}},
    )
    text = configurations({"config": config, "store": "s3://models", "image": IMAGE})["train.yaml"]
    assert ">= 0.9" in text
    (tmp_path / "train.yaml").write_text(text)
    read = load_yaml(tmp_path / "train.yaml", TrainingConfig)
    assert (read.seed, read.model_card.limitations) == (4294967295, "a < b & c")


def test_file_text_is_rendered_byte_for_byte() -> None:
    text = "# mine\nname: breast-cancer\nalgorithm: {name: Ridge, parameters: {alpha: 1.0}}\n"
    assert configurations({"config": text, "store": "s3://models", "image": IMAGE})["train.yaml"] == text


def test_unchanged_upgrade_keeps_the_job_name() -> None:
    assert job(ONCE) == job(ONCE)


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"seed": 7}},
        {"channel": "candidate"},
        {"image": {"tag": "other"}},
        {"backoffLimit": 1},
        {"resources": {"limits": {"memory": "4Gi"}}},
        {"objectStore": {"region": "eu-central-1"}},
        {"data": {"existingClaim": "training-data"}},
        {"extraContainers": [{"name": "proxy", "image": "proxy:1"}]},
        {"extraPodSpec": {"dnsConfig": {"nameservers": ["10.0.0.1"]}}},
    ],
)
def test_job_name_changes_with_what_decides_the_bundle(change) -> None:
    assert job(merged(ONCE, change))["metadata"]["name"] != job(ONCE)["metadata"]["name"]


ELSEWHERE = {
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "batch",
    "podLabels": {"team": "models"},
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccount": {"create": False},
    "kueue": {"queueName": "training"},
    "parallelism": 1,
}


def test_job_that_exists_is_not_replaced_to_run_elsewhere() -> None:
    for base in (ONCE, SWEEP):
        [fresh] = of_kind(upgraded(merged(base, ELSEWHERE), []), "Job").values()
        live = created(job(base))
        [kept] = of_kind(upgraded(merged(base, ELSEWHERE), [live]), "Job").values()
        assert fresh["metadata"]["name"] == kept["metadata"]["name"] == live["metadata"]["name"]
        assert fresh["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}
        # Kubernetes rejects a change of these fields, and Kueue a change of a running Job's queue.
        for field in fresh["spec"].keys() - {"template", "parallelism"}:
            assert kept["spec"][field] == live["spec"][field]
        # A rollback would remove a field that only the server set, which Kubernetes rejects as well.
        assert kept["spec"].keys() == fresh["spec"].keys()
        assert kept["spec"]["template"]["spec"] == live["spec"]["template"]["spec"]
        assert "kueue.x-k8s.io/queue-name" not in kept["metadata"]["labels"]
        # Kubernetes rejects a new Job with the labels of the Job controller.
        assert kept["spec"]["template"]["metadata"] == job(base)["spec"]["template"]["metadata"]
        assert "selector" not in kept["spec"]


def test_job_that_exists_stays_under_another_chart(tmp_path) -> None:
    folder = Path(load("tidegate-training").save_dir(tmp_path))
    template = folder / "templates" / "_job.tpl"
    template.write_text(template.read_text().replace("mountPath: /work\n", "mountPath: /workspace\n"))
    live = created(job(ONCE))
    [fresh] = of_kind(upgrade(ONCE, str(folder), [], release="train"), "Job").values()
    [kept] = of_kind(upgrade(ONCE, str(folder), [live], release="train"), "Job").values()
    assert "/workspace" in str(fresh)
    assert "/workspace" not in str(kept)
    assert kept["metadata"]["name"] == fresh["metadata"]["name"] == live["metadata"]["name"]


def test_queue_of_a_job_that_exists_stays() -> None:
    queued = merged(ONCE, {"kueue": {"queueName": "training"}})
    [kept] = of_kind(upgraded(ONCE, [created(job(queued))]), "Job").values()
    assert kept["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"


def test_two_releases_and_two_namespaces_have_jobs_of_their_own() -> None:
    names = {
        job(ONCE, release=release, namespace=namespace)["metadata"]["name"].rpartition("-")[2]
        for release in ("a", "b")
        for namespace in ("x", "y")
    }
    assert len(names) == 4


def test_pod_labels_do_not_change_with_the_chart_version() -> None:
    labels = job(ONCE)["spec"]["template"]["metadata"]["labels"]
    assert not {"helm.sh/chart", "app.kubernetes.io/version"} & labels.keys()


def test_job_mounts_the_config_map_of_its_name() -> None:
    config_maps = of_kind(objects(ONCE), "ConfigMap")
    [volume] = [volume for volume in pod(ONCE)["volumes"] if volume["name"] == "config"]
    assert [volume["configMap"]["name"]] == list(config_maps) == [job(ONCE)["metadata"]["name"]]


def test_longest_release_name_gives_valid_names() -> None:
    long = "a" * 48
    assert len(job(ONCE, release=long)["metadata"]["name"]) <= 63 - len("-0")
    [cron] = of_kind(objects(merged(ONCE, {"schedule": "0 3 * * *"}), release=long), "CronJob")
    assert len(cron) <= 52


def test_schedule_renders_a_cron_job_without_concurrency() -> None:
    scheduled = objects(merged(ONCE, {"schedule": "0 3 * * 1", "kueue": {"queueName": "training"}}))
    [cron] = of_kind(scheduled, "CronJob").values()
    assert not of_kind(scheduled, "Job")
    assert cron["spec"]["schedule"] == "0 3 * * 1"
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert cron["spec"]["jobTemplate"]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"


def test_cron_job_settings_are_rendered() -> None:
    settings = {
        "timeZone": "Europe/Berlin",
        "suspend": True,
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 0,
        "failedJobsHistoryLimit": 10,
    }
    [cron] = of_kind(objects(merged(ONCE, {"schedule": "@daily", "cronJob": settings})), "CronJob").values()
    assert settings.items() <= cron["spec"].items()
    [cron] = of_kind(objects(merged(ONCE, {"schedule": "@daily"})), "CronJob").values()
    assert not {"timeZone", "startingDeadlineSeconds"} & cron["spec"].keys()


@pytest.mark.parametrize(
    "schedule", ["*/15 0-6 1,15 * MON-FRI", "0 3 ? * 1", "@hourly", "@midnight", "@every 1h30m"]
)
def test_schedule_valid_for_kubernetes_renders(schedule) -> None:
    [cron] = of_kind(objects(merged(ONCE, {"schedule": schedule})), "CronJob").values()
    assert cron["spec"]["schedule"] == schedule


def test_schedule_keeps_its_config_map_and_notes_name_it() -> None:
    values = merged(ONCE, {"schedule": "0 3 * * 1"})
    [(name, config)] = of_kind(objects(values), "ConfigMap").items()
    assert config["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert f"Current is {name}." in notes(values, "tidegate-training", "train")
    # Helm deletes a Job's configuration with the Job.
    [config] = of_kind(objects(ONCE), "ConfigMap").values()
    assert "annotations" not in config["metadata"]


def test_kueue_is_one_value_and_suspends_the_job_itself() -> None:
    queued = job(merged(ONCE, {"kueue": {"queueName": "training"}}))
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"
    # With 'suspend: true' in the manifest, an upgrade without changes would suspend the admitted Job.
    assert "suspend" not in queued["spec"]
    assert "kueue.x-k8s.io/queue-name" not in job(ONCE)["metadata"]["labels"]


def test_credentials_come_from_existing_or_created_secret() -> None:
    existing = merged(ONCE, {"objectStore": {"secretName": "model-store"}})
    assert container(existing)["envFrom"] == [{"secretRef": {"name": "model-store"}}]
    assert not of_kind(objects(existing), "Secret")
    own = merged(ONCE, {"objectStore": {"secretData": {"AWS_ACCESS_KEY_ID": "trial"}}})
    [(name, secret)] = of_kind(objects(own), "Secret").items()
    assert container(own)["envFrom"] == [{"secretRef": {"name": name}}]
    assert secret["stringData"] == {"AWS_ACCESS_KEY_ID": "trial"}
    assert "envFrom" not in container(ONCE)


def test_secret_data_does_not_change_a_name() -> None:
    def name(key: str) -> str:
        return job(merged(ONCE, {"objectStore": {"secretData": {"AWS_ACCESS_KEY_ID": key}}}))["metadata"][
            "name"
        ]

    assert name("one") == name("two")


def test_termination_message_falls_back_to_the_log() -> None:
    assert container(ONCE)["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_network_policy_lets_the_pods_reach_only_the_store() -> None:
    values = merged(ONCE, {"networkPolicy": {"enabled": True}, "objectStore": {"endpoint": "http://s3:7070"}})
    [(name, policy)] = of_kind(objects(values), "NetworkPolicy").items()
    spec = policy["spec"]
    assert name == "train"
    # The label that the Job controller gives to the pods.
    assert spec["podSelector"] == {
        "matchLabels": {"batch.kubernetes.io/job-name": job(values)["metadata"]["name"]}
    }
    assert spec["ingress"] == []
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 5353, 7070}
    [scheduled] = of_kind(objects(merged(values, {"schedule": "@daily"})), "NetworkPolicy").values()
    labels = job(values)["spec"]["template"]["metadata"]["labels"]
    assert selects(scheduled["spec"]["podSelector"], labels)


def test_network_policy_has_the_extra_rules() -> None:
    mesh = {"ports": [{"protocol": "TCP", "port": 15008}]}
    network = {"enabled": True, "ingress": [mesh], "egress": [mesh]}
    [policy] = of_kind(objects(merged(ONCE, {"networkPolicy": network})), "NetworkPolicy").values()
    assert policy["spec"]["ingress"] == [mesh]
    assert policy["spec"]["egress"][-1] == mesh
    assert not of_kind(objects(ONCE), "NetworkPolicy")


def test_data_claim_is_mounted_read_only() -> None:
    values = merged(ONCE, {"data": {"existingClaim": "training-data"}})
    [mount] = [mount for mount in container(values)["volumeMounts"] if mount["name"] == "data"]
    assert mount == {"name": "data", "mountPath": "/data", "readOnly": True}


def test_deadlines_are_set_when_they_are_given_and_zero_is_one() -> None:
    assert not {"activeDeadlineSeconds", "ttlSecondsAfterFinished"} & job(ONCE)["spec"].keys()
    values = merged(ONCE, {"activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 0, "schedule": "@daily"})
    [cron] = of_kind(objects(values), "CronJob").values()
    spec = cron["spec"]["jobTemplate"]["spec"]
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (60, 0)


def test_notes_name_the_job() -> None:
    text = notes(ONCE, "tidegate-training", "train")
    assert f"logs --follow job/{job(ONCE)['metadata']['name']}" in text
    assert "channel" not in text
    assert "create job --from=cronjob/train" in notes(
        merged(ONCE, {"schedule": "0 3 * * 1"}), "tidegate-training", "train"
    )


MESSAGES = [
    ("config: null", ["config is not set", "--set-file config=train.yaml"]),
    ("store: ''", ["store is not set", "--set store=s3://models"]),
    ("store: file:///models", ['store is "file:///models"', "s3://"]),
    ("store: models", ['store is "models"', "s3://models"]),
    ("store: 's3://models/m@sha256:1'", ["store is", "without the model's name"]),
    ("channel: Prod", ['channel is "Prod"', "for example candidate"]),
    ("{channel: prod, sweep: [{seed: 1}]}", ["channel and sweep", "Remove channel"]),
    (
        "{parallelism: 1, config: {search: {shards: 8}}}",
        ["parallelism is 1 and config has search.shards", "Set parallelism to 2"],
    ),
    ("objectStore: {secretName: a, secretData: {b: c}}", ["secretName and objectStore.secretData", "keep"]),
    (
        "{store: gs://models, objectStore: {endpoint: 'https://x'}}",
        ['store is "gs://models"', "remove the endpoint"],
    ),
    ("ttlSecondsAfterFinished: 60", ["ttlSecondsAfterFinished is set without schedule", "Remove it"]),
    *(
        (f"cronJob: {{{setting}}}", ["there is no CronJob", "set schedule"])
        for setting in ("timeZone: Europe/Berlin", "suspend: true", "startingDeadlineSeconds: 60")
    ),
    ("schedule: 'CRON_TZ=UTC 0 3 * * 1'", ["schedule is", "cronJob.timeZone"]),
    ("schedule: daily", ['schedule is "daily"', "'0 3 * * 1'", "@daily"]),
    ("schedule: '0 3 * *'", ['schedule is "0 3 * *"', "minute, hour"]),
    ("schedule: 'TZ=UTC 0 3 * * 1'", ["schedule is", "@daily"]),
    ("schedule: every day at three sharp", ["schedule is", "minute, hour"]),
    ("schedule: '@nightly'", ['schedule is "@nightly"', "@daily"]),
    ("resources: {requests: {cpu: 4}}", ["resources.requests.cpu is 4", "lower the request"]),
    ("resources: {requests: {memory: 4Gi}}", ["resources.requests.memory is 4Gi", "resources.limits.memory"]),
]


@pytest.mark.parametrize(("change", "parts"), MESSAGES, ids=[change for change, _ in MESSAGES])
def test_render_invalid_values_name_the_value_and_the_fix(change, parts) -> None:
    parsed = yaml.safe_load(change)
    values = (
        merged(ONCE, parsed)
        if parsed.get("config", "") is not None
        else {"store": "s3://models", "image": IMAGE}
    )
    with pytest.raises(InvalidValuesError) as caught:
        objects(values)
    for part in parts:
        assert part in str(caught.value)


def test_endpoint_for_s3_data_is_valid_with_another_store() -> None:
    apart = {
        "config": {"data": {"path": "s3://data/breast-cancer.csv"}},
        "store": "gs://models",
        "objectStore": {"endpoint": "https://s3.example.com"},
    }
    assert job(merged(ONCE, apart))


def test_sweep_with_config_as_text_fails() -> None:
    with pytest.raises(InvalidValuesError, match="write config as a map"):
        objects({"config": "name: x", "store": "s3://models", "sweep": [{"seed": 1}]})


@pytest.mark.parametrize("release", ["a" * 49, "my.training"])
def test_render_name_invalid_for_a_job_fails(release) -> None:
    with pytest.raises(InvalidValuesError, match="fullnameOverride"):
        objects(ONCE, release=release)


@pytest.mark.parametrize(
    "change", ["stroe: x", "backoffLimit: -1", "parallelism: 0", "sweep: {}", "resources: {limits: {cpu: x}}"]
)
def test_render_schema_error_names_the_value(change) -> None:
    with pytest.raises(InvalidValuesError, match=change.partition(":")[0]):
        objects(merged(ONCE, yaml.safe_load(change)))


def test_training_chart_has_no_role() -> None:
    assert not {item["kind"] for item in objects(ONCE)} & {"Role", "RoleBinding", "ClusterRole"}
    assert load("tidegate-training").metadata["name"] == "tidegate-training"

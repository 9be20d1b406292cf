# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The kustomize bases under ``manifests/``: each renders, is valid, and agrees with the charts."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
import typer
import yaml

from tests.charts.chart import (
    HELM,
    ROOT,
    Object,
    containers,
    environment,
    of_kind,
    pod_specs,
    render,
    validated,
)
from tests.charts.conftest import DIGEST, IMAGE
from tests.charts.test_examples import assert_restricted
from tidegate.reference import Reference
from tidegate.settings import load_yaml
from tidegate_rollout import commands
from tidegate_rollout.plan import parse_digest
from tidegate_rollout.policy import RolloutPolicy
from tidegate_serving.config import DRAIN_SECONDS, SHUTDOWN_TIMEOUT
from tidegate_training.config import TrainingConfig

BASES = ("runtime", "model", "training", "deployer", "rollout", "object-store")


@cache
def kustomize(base: str) -> list[Object]:
    """Render the objects of ``kubectl apply -k`` and validate each."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    kubectl = shutil.which("kubectl", path=path)
    assert kubectl, "kubectl is missing: the development environment brings it, so run 'make setup'"
    command = [kubectl, "kustomize", str(ROOT / "manifests" / base)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [validated(document) for document in yaml.safe_load_all(done.stdout)]


def the(base: str, kind: str) -> Object:
    [only] = of_kind(kustomize(base), kind).values()
    return only


@pytest.mark.parametrize("base", BASES)
def test_base_renders_valid_objects_with_versioned_images(base) -> None:
    assert kustomize(base)
    for pod in pod_specs([item for item in kustomize(base) if item["kind"] != "InferenceService"]).values():
        for container in containers(pod):
            assert ":" in container["image"]


@pytest.mark.parametrize("base", ["training", "rollout", "object-store"])
def test_pods_pass_the_restricted_pod_security_standard(base) -> None:
    pods = pod_specs(kustomize(base))
    assert pods
    for name, pod in pods.items():
        assert_restricted(name, pod)


def test_kserve_containers_are_restricted() -> None:
    spec = the("runtime", "ClusterServingRuntime")["spec"]
    downloader = the("runtime", "ClusterStorageContainer")["spec"]["container"]
    for container in [*spec["containers"], downloader]:
        security = container["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def test_runtime_and_storage_container_share_one_image() -> None:
    [server] = the("runtime", "ClusterServingRuntime")["spec"]["containers"]
    downloader = the("runtime", "ClusterStorageContainer")["spec"]["container"]
    values = {"model": {"uri": "pvc://claim/model", "digest": DIGEST}, "image": IMAGE}
    [charted] = containers(pod_specs(render(values))["InferenceService/demo"])
    assert server["image"] == downloader["image"] == charted["image"]


def test_runtime_container_equals_the_charts() -> None:
    [server] = the("runtime", "ClusterServingRuntime")["spec"]["containers"]
    values = {"model": {"uri": "s3://models/model", "digest": DIGEST}, "image": IMAGE}
    [charted] = pod_specs(render(values))["InferenceService/demo"]["containers"]
    assert server["name"] == charted["name"]
    assert server["ports"] == charted["ports"]
    assert server["resources"] == charted["resources"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe] == charted[probe]


def test_runtime_drain_fits_kserves_grace_period() -> None:
    [server] = the("runtime", "ClusterServingRuntime")["spec"]["containers"]
    [drain] = [entry["value"] for entry in server["env"] if entry["name"] == "TIDEGATE_DRAIN_SECONDS"]
    assert int(drain) + SHUTDOWN_TIMEOUT + 5 <= 30
    assert int(drain) == DRAIN_SECONDS


def test_model_format_is_unique_to_the_runtime() -> None:
    spec = the("runtime", "ClusterServingRuntime")["spec"]
    [model_format] = spec["supportedModelFormats"]
    assert (model_format["name"], model_format["autoSelect"]) == ("tidegate", True)
    assert spec["protocolVersions"] == ["v1", "v2", "grpc-v2"]
    assert spec["multiModel"] is False


def test_storage_container_handles_only_its_own_uris() -> None:
    spec = the("runtime", "ClusterStorageContainer")["spec"]
    assert spec["workloadType"] == "initContainer"
    for uri_format in spec["supportedUriFormats"]:
        assert uri_format["prefix"].startswith("tidegate+")


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_storage_container_pulls_below_the_given_directory(scheme, tmp_path) -> None:
    command = the("runtime", "ClusterStorageContainer")["spec"]["container"]["command"]
    output = tmp_path / "output"
    program = tmp_path / "tidegate"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {output}\n')
    program.chmod(0o755)
    uri = f"{scheme}://models/a folder/model@sha256:{DIGEST}"
    # KServe appends the URI and the directory as arguments of the container.
    subprocess.run([*command, f"tidegate+{uri}", "/mnt/models"], check=True, env={"PATH": str(tmp_path)})
    assert output.read_text().splitlines() == ["pull", uri, "/mnt/models/bundle"]
    [server] = the("runtime", "ClusterServingRuntime")["spec"]["containers"]
    assert "/mnt/models/bundle" in server["args"]


def test_example_uri_is_handled_by_the_storage_container() -> None:
    isvc = the("model", "InferenceService")
    uri = isvc["spec"]["predictor"]["model"]["storageUri"]
    prefixes = [f["prefix"] for f in the("runtime", "ClusterStorageContainer")["spec"]["supportedUriFormats"]]
    assert uri.startswith(tuple(prefixes))
    assert Reference.parse(uri.removeprefix("tidegate+")).name == "breast-cancer"
    assert isvc["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert (
        isvc["spec"]["predictor"]["serviceAccountName"] == the("model", "ServiceAccount")["metadata"]["name"]
    )
    assert the("model", "ServiceAccount")["secrets"] == [{"name": the("model", "Secret")["metadata"]["name"]}]


def test_example_has_another_name_than_the_release_of_the_guide() -> None:
    """The guide applies both, and one would replace the other's InferenceService."""
    guide = (ROOT / "docs" / "install.md").read_text()
    releases = set(re.findall(r"helm install ([-a-z]+) helm/tidegate ", guide))
    assert releases == {"breast-cancer"}
    assert the("model", "InferenceService")["metadata"]["name"] not in releases


def test_guide_puts_a_digest_into_the_example() -> None:
    [expression] = re.findall(
        r"kustomize manifests/model \| sed '([^']+)'", (ROOT / "docs" / "install.md").read_text()
    )
    text = "\n".join(yaml.safe_dump(item) for item in kustomize("model"))
    command = ["sed", expression.replace("<digest>", "f" * 64)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    assert f"models/breast-cancer@sha256:{'f' * 64}\n" in done.stdout
    assert DIGEST not in done.stdout


@pytest.mark.parametrize("base", ["runtime", "training"])
def test_base_names_no_user(base) -> None:
    assert "runAsUser" not in str(kustomize(base))


def test_example_has_ten_lines() -> None:
    text = (ROOT / "manifests" / "model" / "inferenceservice.yaml").read_text()
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert len(lines) == 10


def test_training_base_has_the_charts_failure_policy() -> None:
    image = {"repository": "registry.example.com/tidegate/training"}
    values = {"config": "name: x", "store": "s3://models", "channel": "candidate", "image": image}
    [charted] = of_kind(render(values, "tidegate-training"), "Job").values()
    plain = the("training", "Job")
    for key in ("backoffLimit", "podReplacementPolicy", "podFailurePolicy"):
        assert plain["spec"][key] == charted["spec"][key]
    [ours], [theirs] = (job["spec"]["template"]["spec"]["containers"] for job in (plain, charted))
    for key in ("args", "image", "resources", "securityContext", "terminationMessagePolicy"):
        assert ours[key] == theirs[key]


def test_training_base_configuration_is_valid(tmp_path) -> None:
    config = the("training", "ConfigMap")
    (tmp_path / "train.yaml").write_text(config["data"]["train.yaml"])
    assert load_yaml(tmp_path / "train.yaml", TrainingConfig).name == "breast-cancer"
    volumes = the("training", "Job")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "config", "configMap": {"name": config["metadata"]["name"]}} in volumes


def test_training_account_has_no_role() -> None:
    objects = kustomize("training")
    assert not of_kind(objects, "RoleBinding")
    for rule in the("training", "Role")["rules"]:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert not {"*", "escalate", "bind", "impersonate"} & set(rule["verbs"])
        assert not {"*", "secrets", "roles", "rolebindings"} & set(rule["resources"])
        assert "secrets" not in rule["resources"]


def test_submitter_role_has_the_required_permissions_only() -> None:
    granted = {
        resource: set(rule["verbs"])
        for rule in the("training", "Role")["rules"]
        for resource in rule["resources"]
    }
    store = {"objectStore": {"secretName": "store"}, "image": IMAGE}
    values = {"config": "name: x", "store": "s3://models"} | store
    kinds = {f"{item['kind'].lower()}s" for item in render(values, "tidegate-training")}
    helm = {kind: {"create", "get", "patch", "delete"} for kind in kinds}
    # Helm's own records, of which it keeps ten.
    helm["configmaps"] |= {"list", "update"}
    # training/tidegate_training/submit.py reads the release's Jobs, a Job's pods and their logs.
    assert granted == helm | {
        "jobs": helm["jobs"] | {"list"},
        "pods": {"list"},
        "pods/log": {"get"},
    }


def granted_by_role(base: str) -> dict[tuple[str, str], set[str]]:
    """Return the verbs of a base's Role by API group and resource."""
    return {
        (group, resource): set(rule["verbs"])
        for rule in the(base, "Role")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def resource_of(item: Object) -> tuple[str, str]:
    """Return an object's API group and its resource in the API."""
    kind = item["kind"].lower()
    plural = f"{kind.removesuffix('y')}ies" if kind.endswith("cy") else f"{kind}s"
    return item["apiVersion"].rpartition("/")[0], plural


def test_deployer_role_has_the_required_permissions_only() -> None:
    files = sorted((HELM / "tidegate" / "ci").glob("*-values.yaml"))
    rendered = [item for file in files for item in render(yaml.safe_load(file.read_text()))]
    helm = {resource_of(item): {"create", "get", "patch", "delete"} for item in rendered}
    # Helm's own records, of which it keeps ten.
    helm["", "configmaps"] |= {"list", "update"}
    # Helm creates and watches the pods of its test, and never changes them.
    helm["", "pods"] = {"create", "get", "list", "watch", "delete"}
    # rollout/tidegate_rollout/release.py lists these.
    read = {("apps", "deployments"), ("apps", "replicasets")}
    listed = {
        ("serving.kserve.io", "inferenceservices"),
        ("autoscaling", "horizontalpodautoscalers"),
        ("gateway.networking.k8s.io", "httproutes"),
        ("keda.sh", "scaledobjects"),
    }
    assert granted_by_role("deployer") == {
        **{resource: verbs | ({"list"} if resource in listed else set()) for resource, verbs in helm.items()},
        **{resource: {"list"} for resource in read},
        ("", "pods/log"): {"get"},
    }


def test_rollout_role_has_the_required_permissions_only() -> None:
    def names(values: Object) -> dict[tuple[str, str], set[str]]:
        rendered: dict[tuple[str, str], set[str]] = {}
        for item in render(values):
            rendered.setdefault(resource_of(item), set()).add(item["metadata"]["name"])
        return rendered

    expected: dict[tuple[str, str], set[str]] = {}
    for file in sorted((HELM / "tidegate" / "ci").glob("*-values.yaml")):
        values = yaml.safe_load(file.read_text())
        without, canary = ({**values, "canary": {"digest": digest}} for digest in ("", "b" * 64))
        before, during = names(without), names(canary)
        for resource, objects in during.items():
            # A rollout creates and deletes what belongs to the canary, and patches everything else.
            appears = objects != before.get(resource)
            verbs = {"get", "patch"} | ({"create", "delete"} if appears else set())
            expected.setdefault(resource, set()).update(verbs)
    # An upgrade does not run the pod of "helm test".
    expected.pop(("", "pods"), None)
    expected["", "configmaps"] |= {"list", "create", "update", "delete"}
    # rollout/tidegate_rollout/release.py lists these.
    for resource in (
        ("serving.kserve.io", "inferenceservices"),
        ("autoscaling", "horizontalpodautoscalers"),
        ("gateway.networking.k8s.io", "httproutes"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("", "pods"),
    ):
        expected.setdefault(resource, set()).add("list")
    assert granted_by_role("rollout") == expected | {
        # rollout/tidegate_rollout/cluster.py.
        ("", "pods/portforward"): {"get", "create"},
        ("events.k8s.io", "events"): {"create"},
        ("coordination.k8s.io", "leases"): {"get", "create", "update"},
    }


def test_rollout_job_runs_the_command_with_its_policy() -> None:
    [container] = the("rollout", "Job")["spec"]["template"]["spec"]["containers"]
    options = [argument for argument in container["args"] if argument.startswith("--")]
    command, *arguments = container["args"]
    assert command == "rollout"
    [policy] = [value for option in options if (value := option.removeprefix("--policy=")) != option]
    data = the("rollout", "ConfigMap")["data"]
    assert RolloutPolicy.model_validate(yaml.safe_load(data[PurePosixPath(policy).name])) == RolloutPolicy()
    parsed = typer.main.get_command(commands.app).commands["start"].make_context("start", arguments[1:])
    assert parsed.params["release"] == "breast-cancer"
    assert parse_digest(parsed.params["digest"])


def test_development_store_probe_tolerates_a_stall() -> None:
    [container] = the("object-store", "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["timeoutSeconds"] == 5


def test_development_store_and_its_users_agree() -> None:
    port = the("object-store", "Service")["spec"]["ports"][0]["port"]
    name = the("object-store", "Service")["metadata"]["name"]
    [container] = the("training", "Job")["spec"]["template"]["spec"]["containers"]
    assert environment(container)["AWS_ENDPOINT_URL"] == f"http://{name}:{port}"
    assert container["envFrom"][0]["secretRef"]["name"] == the("object-store", "Secret")["metadata"]["name"]
    store = the("model", "Secret")
    assert store["metadata"]["annotations"]["serving.kserve.io/s3-endpoint"] == f"{name}:{port}"

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Installation by the chart and by KServe's own resources, and inference by each protocol."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.confinement import assert_confined, inspect_container
from tests.e2e.kube import CommandError, Namespace, run
from tests.e2e.model import Model, bundle_file, push, train_file
from tests.e2e.ownership import SELECTOR, add_label, parse_objects, reject_foreign_objects
from tests.e2e.release import Release
from tests.e2e.target import Target
from tests.e2e.traffic import ClientPod
from tidegate import __version__
from tidegate.bundle import JOBLIB, ONNX
from tidegate.kubernetes.pods import unmet_condition
from tidegate.protocol.constants import Protocol

REST_PROTOCOLS = (Protocol.V1, Protocol.V2, Protocol.V2_BINARY)
RUNTIME = Path("manifests/runtime")
MODEL = Path("manifests/model")
DEFAULT_IMAGE = f"registry.example.com/tidegate/serving:{__version__}"
EXAMPLES = Path("examples")
POST = (
    "import sys, urllib.request as http;"
    "request = http.Request(sys.argv[1], sys.argv[2].encode(), {'Content-Type': 'application/json'});"
    "print(http.urlopen(request, timeout=10).read().decode())"
)
"""A program that sends a body to an address, and prints the response."""


def send_golden_requests(
    client: ClientPod,
    model: Model,
    host: str,
    grpc_port: int,
    protocols: Sequence[Protocol] = tuple(Protocol),
    name: str | None = None,
) -> dict[str, Any]:
    """Send the golden requests by each protocol; `tidegate predict` compares the golden outputs.

    Args:
        client: The clients' pod.
        model: The served model.
        host: The server's hostname; REST uses its port 80.
        grpc_port: The server's gRPC port.
        protocols: The protocols; all by default.
        name: The model's name in requests; the bundle's by default.

    Returns:
        The number of compared and of mismatched rows by protocol.
    """
    results = {}
    for protocol in protocols:
        command = ["tidegate", "predict", "--url", f"http://{host}", "--grpc", f"{host}:{grpc_port}"]
        command += ["--model", name or model.name, "--protocol", protocol, "--golden", model.reference]
        result = json.loads(client.run(*command, "--output", "json"))
        golden = result["golden"]
        assert golden["equal"], golden
        # A V1 response has no version; the command reads it from the model's metadata.
        assert result["version"] == model.version
        results[str(protocol)] = {key: golden[key] for key in ("rows", "mismatched_rows")}
    return results


OPENSHIFT_USER = {"runAsUser": 1000650000, "runAsGroup": 0}
"""A user that the image does not know, as OpenShift assigns one; other scenarios have the image's user."""


def test_install_and_infer(release: Release, client: ClientPod, v1: Model, evidence: dict[str, Any]) -> None:
    evidence["seconds_to_serve"] = release.install(v1, {"podSecurityContext": OPENSHIFT_USER})
    evidence["digest"] = v1.digest
    client.wait()

    evidence["by_dns_name"] = send_golden_requests(client, v1, release.service, 8081)
    evidence["through_gateway"] = send_golden_requests(client, v1, release.hostname, 80)

    release.namespace.helm("test", release.name, "--timeout=2m")
    evidence["helm_test"] = "passed"

    status = release.status()
    assert status["ready"]
    pod = release.ready_pods()[0]["metadata"]["name"]
    proc_status = release.namespace.execute(pod, "cat", "/proc/1/status", container="kserve-container")
    assert re.findall(r"^Uid:\s+(\d+)", proc_status, re.MULTILINE) == [str(OPENSHIFT_USER["runAsUser"])]
    evidence["resident_mebibytes"] = int(re.findall(r"VmRSS:\s+(\d+) kB", proc_status)[0]) // 1024
    evidence["status"] = status["tracks"]


@pytest.fixture
def runtime(target: Target) -> Any:
    """The resources that a cluster's administrator applies once, for the duration of the scenario."""
    text = run(["kubectl", "kustomize", str(RUNTIME)])
    assert DEFAULT_IMAGE in text
    text = text.replace(DEFAULT_IMAGE, target.images["serving"])
    objects = [add_label(item) for item in yaml.safe_load_all(text)]
    text = yaml.safe_dump_all(objects)
    existing = run(["kubectl", "get", "--ignore-not-found", "--output=json", "-f", "-"], stdin=text)
    reject_foreign_objects(parse_objects(existing))
    run(["kubectl", "apply", "--server-side", "-f", "-"], stdin=text)
    yield text
    for item in objects:
        name = f"--field-selector=metadata.name={item['metadata']['name']}"
        run(["kubectl", "delete", item["kind"].lower(), name, f"--selector={SELECTOR}", "--wait=false"])


def render_model(model: Model, target: Target, folder: Path) -> str:
    """Render a copy of manifests/model with another bundle and other credentials.

    Args:
        model: The model to serve.
        target: The cluster under test.
        folder: The copy's path.
    """
    shutil.copytree(MODEL, folder)
    service_file, credentials_file = folder / "inferenceservice.yaml", folder / "credentials.yaml"
    service = yaml.safe_load(service_file.read_text())
    service["spec"]["predictor"]["model"]["storageUri"] = f"tidegate+{model.reference}"
    service_file.write_text(yaml.safe_dump(service))
    account, secret = yaml.safe_load_all(credentials_file.read_text())
    scheme, _, address = target.s3_from_pods.partition("://")
    secret["metadata"]["annotations"] = {
        "serving.kserve.io/s3-endpoint": address,
        "serving.kserve.io/s3-usehttps": "1" if scheme == "https" else "0",
        "serving.kserve.io/s3-region": target.region,
    }
    secret["stringData"] = {
        "AWS_ACCESS_KEY_ID": target.access_key,
        "AWS_SECRET_ACCESS_KEY": target.secret_key,
    }
    credentials_file.write_text(yaml.safe_dump_all([account, secret]))
    return run(["kubectl", "kustomize", str(folder)])


def test_kserve_native(
    namespace: Namespace,
    target: Target,
    gateway: str,
    v1: Model,
    runtime: str,
    tmp_path: Path,
    evidence: dict[str, Any],
) -> None:
    service = yaml.safe_load((MODEL / "inferenceservice.yaml").read_text())
    name = service["metadata"]["name"]
    namespace.kubectl("apply", "-f", "-", stdin=render_model(v1, target, tmp_path / "model"))

    def not_ready() -> str | None:
        return unmet_condition(namespace.get(f"inferenceservice/{name}"), "Ready")

    evidence["seconds_to_serve"] = round(namespace.wait("the InferenceService", not_ready, timeout=180), 1)
    evidence["lines_of_the_inferenceservice"] = len(
        (MODEL / "inferenceservice.yaml").read_text().strip().splitlines()
    )
    [pod] = namespace.pods(f"serving.kserve.io/inferenceservice={name}")
    [puller] = pod["status"]["initContainerStatuses"]
    evidence["pulled_by"] = puller["image"]
    evidence["grace_seconds"] = pod["spec"]["terminationGracePeriodSeconds"]
    evidence["confinement"] = inspect_container(namespace, pod["metadata"]["name"])
    assert_confined(evidence["confinement"])
    hostnames = route_hostnames(namespace)
    client = ClientPod(namespace, target, gateway)
    client.start(hostnames)
    client.wait()

    host = f"{name}-predictor.{namespace.name}"
    evidence["by_dns_name"] = send_golden_requests(client, v1, host, 8081, name=name)
    # KServe's own route carries REST only.
    outside = next(host for host in hostnames if host.startswith(f"{name}-predictor"))
    evidence["through_gateway"] = send_golden_requests(client, v1, outside, 80, REST_PROTOCOLS, name)


@pytest.fixture
def examples(target: Target, tmp_path: Path) -> list[Model]:
    """Examples in the store: a model that came as `model.joblib`, a recommender, and XGBoost."""
    loans = EXAMPLES / "credit-risk"
    pickled = train_file(loans / "train.yaml", tmp_path / "pickled", "--extra-format=joblib")
    options = ["--target=default", "--name=loans", "--allow-pickle", "--accept-unknown"]
    bundles = [
        bundle_file(pickled.path / JOBLIB, loans / "loans.csv", tmp_path / "loans", *options),
        train_file(EXAMPLES / "recommendation" / "train.yaml", tmp_path / "books"),
        train_file(EXAMPLES / "xgboost" / "train.yaml", tmp_path / "deliveries"),
    ]
    return [push(bundle, target, "examples") for bundle in bundles]


def test_examples_on_cluster(
    namespace: Namespace,
    target: Target,
    client: ClientPod,
    examples: list[Model],
    tmp_path: Path,
    evidence: dict[str, Any],
) -> None:
    releases = [Release(model.name, namespace, target, tmp_path) for model in examples]
    one_replica = {"autoscaling": {"minReplicas": 1, "maxReplicas": 1}}
    for release, model in zip(releases, examples, strict=True):
        release.install(model, one_replica, wait=False)
    for release in releases:
        release.wait()
    client.wait()
    protocols = (Protocol.V1, Protocol.GRPC)
    for release, model in zip(releases, examples, strict=True):
        assert (ONNX in model.bundle, JOBLIB in model.bundle) == (True, False)
        evidence[model.name] = {
            "digest": model.digest,
            "golden": send_golden_requests(client, model, release.service, 8081, protocols),
        }

    books, release = examples[1], releases[1]
    url = f"http://{release.service}/v1/models/{books.name}:predict"
    response = json.loads(client.run("python", "-c", POST, url, json.dumps({"instances": [["unknown"]]})))
    [popular] = response["predictions"]
    assert len(set(popular)) == books.bundle.contract.prediction.width
    evidence["items_of_an_unknown_user"] = popular


def route_hostnames(namespace: Namespace) -> list[str]:
    """Return the hostnames of KServe's routes; none on a cluster without the Gateway API."""
    try:
        routes = namespace.get("httproutes")["items"]
    except CommandError:
        return []
    return sorted({host for route in routes for host in route["spec"].get("hostnames", [])})

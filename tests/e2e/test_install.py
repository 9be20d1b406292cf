# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A model is installed and asked, in every way that clients have."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.confinement import assert_confined, look
from tests.e2e.kube import CommandError, Namespace, condition, run
from tests.e2e.model import Model
from tests.e2e.ownership import SELECTOR, listed, marked, refuse_strangers
from tests.e2e.release import Release
from tests.e2e.target import Target
from tests.e2e.traffic import ClientPod

PROTOCOLS = ("v1", "v2", "v2-binary", "grpc")
RUNTIME = Path("manifests/runtime")
MODEL = Path("manifests/model")
DEFAULT_IMAGE = "tidegate/serving:0.1.0"


def ask(
    client: ClientPod,
    model: Model,
    host: str,
    grpc_port: int,
    protocols: Sequence[str] = PROTOCOLS,
    name: str | None = None,
) -> dict[str, Any]:
    """Ask the golden questions by each protocol; `tidegate predict` compares with scikit-learn's answers."""
    found = {}
    for protocol in protocols:
        command = ["tidegate", "predict", "--url", f"http://{host}", "--grpc", f"{host}:{grpc_port}"]
        command += ["--model", name or model.name, "--protocol", protocol, "--golden", model.reference]
        answer = json.loads(client.run(*command, "--output", "json"))
        assert answer["golden"]["equal"], answer["golden"]
        # V1 has no place for a version; the command reads it from the metadata.
        assert answer["version"] == model.version
        found[protocol] = {"rows": answer["rows"], "equal": answer["rows"] - len(answer["golden"]["mismatched_rows"])}
    return found


def test_install_and_ask(release: Release, client: ClientPod, v1: Model, evidence: dict[str, Any]) -> None:
    evidence["seconds_to_serve"] = release.install(v1)
    evidence["digest"] = v1.digest
    client.wait()

    evidence["by_dns_name"] = ask(client, v1, release.service, 8081)
    evidence["through_gateway"] = ask(client, v1, release.hostname, 80)

    release.namespace.helm("test", release.name, "--timeout=2m")
    evidence["helm_test"] = "passed"

    status = release.status()
    assert status["ready"]
    pod = release.ready_pods()[0]["metadata"]["name"]
    process = release.namespace.execute(pod, "cat", "/proc/1/status", container="kserve-container")
    evidence["resident_mebibytes"] = int(re.findall(r"VmRSS:\s+(\d+) kB", process)[0]) // 1024
    evidence["status"] = status["tracks"]


@pytest.fixture
def runtime(target: Target) -> Any:
    """What the administrator of a cluster applies once; taken away again, unless it was there before."""
    text = run(["kubectl", "kustomize", str(RUNTIME)])
    assert DEFAULT_IMAGE in text
    text = text.replace(DEFAULT_IMAGE, target.images["serving"])
    objects = [marked(thing) for thing in yaml.safe_load_all(text)]
    text = yaml.safe_dump_all(objects)
    there = run(["kubectl", "get", "--ignore-not-found", "--output=json", "-f", "-"], stdin=text)
    refuse_strangers(listed(there))
    run(["kubectl", "apply", "--server-side", "-f", "-"], stdin=text)
    yield text
    for thing in objects:
        name = f"--field-selector=metadata.name={thing['metadata']['name']}"
        run(["kubectl", "delete", thing["kind"].lower(), name, f"--selector={SELECTOR}", "--wait=false"])


def filled_in(model: Model, target: Target, folder: Path) -> str:
    """Copy the model's folder and put one's own bundle and credentials in, as it says."""
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
    namespace.kubectl("apply", "-f", "-", stdin=filled_in(v1, target, tmp_path / "model"))

    def not_ready() -> str | None:
        found = namespace.get(f"inferenceservice/{name}")
        ready = condition(found, "Ready")
        return None if ready.get("status") == "True" else f"Ready is {ready}"

    evidence["seconds_to_serve"] = round(namespace.wait("the InferenceService", not_ready, timeout=180), 1)
    evidence["lines_of_the_inferenceservice"] = len(
        (MODEL / "inferenceservice.yaml").read_text().strip().splitlines()
    )
    [pod] = namespace.pods(f"serving.kserve.io/inferenceservice={name}")
    [puller] = pod["status"]["initContainerStatuses"]
    evidence["pulled_by"] = puller["image"]
    evidence["grace_seconds"] = pod["spec"]["terminationGracePeriodSeconds"]
    evidence["seen_from_inside"] = look(namespace, pod["metadata"]["name"])
    assert_confined(evidence["seen_from_inside"])
    hostnames = route_hostnames(namespace)
    client = ClientPod(namespace, target, gateway)
    client.start(hostnames)
    client.wait()

    evidence["by_dns_name"] = ask(client, v1, f"{name}-predictor.{namespace.name}", 8081, name=name)
    # KServe's own route carries REST alone.
    outside = next(host for host in hostnames if host.startswith(f"{name}-predictor"))
    evidence["through_gateway"] = ask(client, v1, outside, 80, PROTOCOLS[:3], name)


def route_hostnames(namespace: Namespace) -> list[str]:
    """List the hosts that KServe made routes for; none on a cluster without the Gateway API."""
    try:
        routes = namespace.get("httproutes")["items"]
    except CommandError:
        return []
    return sorted({host for route in routes for host in route["spec"].get("hostnames", [])})

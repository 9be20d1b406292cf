# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A run is logged to MLflow's own server, registered, and pulled by an alias that MLflow has set."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tidegate.bundle import verify
from tidegate.reference import Reference

TIDEGATE = [sys.executable, "-c", "from tidegate.cli import main; main()"]
CONFIGURATION = "name: iris\ntask: classification\ndata: {dataset: iris}\nalgorithm: {name: GaussianNB}\n"
SERVER = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
RESTRICTED = "features: {sensitivity: restricted}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with an SQLite database, which stores the artifacts itself."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=os.environ | SERVER)
    client = MlflowClient(f"http://127.0.0.1:{port}")
    try:
        for _ in range(10):  # the client itself retries with a growing delay
            try:
                client.search_experiments()
                break
            except Exception:
                assert process.poll() is None, (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def tidegate(server: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TIDEGATE, *arguments],
        cwd=folder,
        env=os.environ | {"MLFLOW_TRACKING_URI": server},
        capture_output=True,
        text=True,
        timeout=300,
    )


def train(server: str, folder: Path, *options: str, more: str = "") -> Any:
    (folder / "train.yaml").write_text(CONFIGURATION + more)
    completed = tidegate(server, folder, "train", "train.yaml", "--output", "json", *options)
    assert completed.returncode == 0, completed.stderr
    assert "Warning: MLflow" not in completed.stderr, completed.stderr
    return json.loads(completed.stdout)


def artifacts(client: MlflowClient, run_id: str) -> set[str]:
    return {file.path for file in client.list_artifacts(run_id)}


def test_registered_run_is_pulled_by_its_alias(server: str, tmp_path: Path) -> None:
    store = (tmp_path / "store").as_uri()
    document = train(server, tmp_path, "--push", store, "--register", "iris-model")
    client = MlflowClient(server)
    tracked = document["tracked"]
    assert (tracked["experiment"], tracked["registered"]) == ("iris", "iris-model/1")
    run = client.get_run(tracked["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["tidegate.reference"] == document["reference"]
    assert run.data.tags["tidegate.digest"] == document["digest"]
    assert run.data.params["algorithm"] == "GaussianNB"
    metrics = run.data.metrics
    assert metrics["test.accuracy"] == document["metrics"]["test"]["accuracy"]
    assert metrics["test.accuracy.low"] <= metrics["test.accuracy"] <= metrics["test.accuracy.high"]
    assert artifacts(client, run.info.run_id) == {
        "metrics.json",
        "report.html",
        "MODEL_CARD.md",
        "train.yaml",
    }

    source = "mlflow://models/iris-model@champion"
    unknown = tidegate(server, tmp_path, "pull", source, "pulled")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "has no model 'iris-model' with the alias 'champion'" in unknown.stderr

    client.set_registered_model_alias("iris-model", "champion", "1")
    pulled = tidegate(server, tmp_path, "pull", source, "pulled", "--output", "json")
    assert pulled.returncode == 0, pulled.stderr
    assert json.loads(pulled.stdout)["reference"] == document["reference"]
    assert verify(tmp_path / "pulled").digest == Reference.parse(document["reference"]).digest

    client.set_model_version_tag("iris-model", "1", "tidegate.digest", "0" * 64)
    contradicting = tidegate(server, tmp_path, "pull", source, "again")
    assert contradicting.returncode != 0
    assert "contradicts itself" in contradicting.stderr


def test_run_of_restricted_features_has_no_values(server: str, tmp_path: Path) -> None:
    tracked = train(server, tmp_path, more=RESTRICTED)["tracked"]
    assert tracked["registered"] is None
    client = MlflowClient(server)
    assert artifacts(client, tracked["run_id"]) == set()
    assert "test.f1" in client.get_run(tracked["run_id"]).data.metrics


def test_server_that_does_not_respond_costs_no_model(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(CONFIGURATION)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nothing listens
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        completed = tidegate(address, tmp_path, "train", "train.yaml", "--output", "json")
    assert completed.returncode == 0, completed.stderr
    document = json.loads(completed.stdout)
    assert document["tracked"] is None
    assert verify(Path(tmp_path / document["bundle"])).digest == document["digest"]
    assert f"Warning: MLflow at {address} has no complete entry of the run" in completed.stderr

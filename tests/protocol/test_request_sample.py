# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Requests that a server has sampled, joined with their labels by the command that evaluates them."""

import json
from pathlib import Path

import grpc
import httpx
import typer
from typer.testing import CliRunner

from tests.protocol.clients import JSON_HEADERS, SERVICE, infer_request, metric_value
from tests.support.servers import serving
from tidegate.bundle import Bundle
from tidegate.protocol.requests import v1_body, v2_body
from tidegate_serving._kserve import pb
from tidegate_training.evaluate import evaluate


def test_sampled_requests_are_evaluated_by_late_labels(numeric_bundle: Bundle, tmp_path: Path) -> None:
    contract, samples = numeric_bundle.contract, tmp_path / "samples"
    golden = list(zip(contract.golden.rows, contract.golden.outputs["label"], strict=True))
    options = ("--request-sample-url", str(samples), "--request-sample-rate", "1")
    with serving(numeric_bundle, tmp_path / "log", *options) as server:
        with httpx.Client(base_url=server.http, headers=JSON_HEADERS, timeout=30) as client:
            for number, (row, _) in enumerate(golden):
                v1, v2 = f"/v1/models/{server.name}:predict", f"/v2/models/{server.name}/infer"
                path, body = (v1, v1_body(contract, [row])) if number % 2 else (v2, v2_body(contract, [row]))
                # With "close", the request takes the path of the framework.
                connection = "close" if number % 3 == 0 else "keep-alive"
                headers = {"X-Request-Id": f"r-{number}", "Connection": connection}
                assert client.post(path, content=body, headers=headers).status_code == 200
            client.post(v2, content=v2_body(contract, [golden[0][0]]))  # without an id
        with grpc.insecure_channel(server.grpc) as channel:
            call = channel.unary_unary(
                f"{SERVICE}ModelInfer",
                lambda message: message.SerializeToString(),
                pb.ModelInferResponse.FromString,
            )
            rows = [list(row) for row, _ in golden[:2]]
            call(infer_request(server, rows, raw=True), metadata=(("x-request-id", "g"),), timeout=30)
        assert metric_value(server, 'tidegate_request_sample_rows_total{outcome="written"}') == 0
        server.terminate()
        assert server.process.wait(30) == 0

    [file] = samples.rglob("*.parquet")
    assert file.relative_to(samples).parts[:2] == (numeric_bundle.manifest.name, numeric_bundle.digest)
    labels = tmp_path / "labels.csv"
    known = {f"r-{number}": label for number, (_, label) in enumerate(golden)}
    known |= {f"g/{number}": label for number, (_, label) in enumerate(golden[:2])}
    labels.write_text("id,label\n" + "".join(f"{row_id},{label}\n" for row_id, label in known.items()))

    app = typer.Typer()
    app.command()(evaluate)
    folder = samples / numeric_bundle.manifest.name / numeric_bundle.digest
    command = [str(numeric_bundle.path), "--predictions", str(folder), "--labels", str(labels)]
    result = CliRunner().invoke(app, [*command, "--output", "json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["predictions"], document["labelled"]) == (len(golden) + 2, len(golden) + 2)
    # The label is that of the server, so all are right; the probabilities order them.
    assert (document["metrics"]["accuracy"], document["metrics"]["roc_auc"]) == (1.0, 1.0)

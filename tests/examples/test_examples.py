# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Each folder of `examples/` with a train.yaml, by the commands that a user types."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import LiveServer, serving
from tests.support.training import policy_for
from tidegate.batch import Batch
from tidegate.bundle import ONNX, SKOPS, Bundle, open_bundle
from tidegate.outputs import decide_labels
from tidegate.protocol.constants import Protocol
from tidegate.protocol.samples import sample_rows
from tidegate.trust.archive import build_pipeline
from tidegate_serving import client
from tidegate_training.bundling.contract import to_json_outputs
from tidegate_training.bundling.outputs import predict_outputs

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(file.parent.name for file in (ROOT / "examples").glob("*/train.yaml"))
CAMPAIGN = Path(__file__).with_name("load.yaml")
KERAS_PYTHON = ROOT / ".venv-keras" / "bin" / "python"
"""The environment of `make test-keras`: it trains, and the server has no Keras."""

SAMPLE_ROWS = 64


def tidegate(*arguments: str | Path, python: Path | str = sys.executable) -> Any:
    """Run a command, and return its JSON output."""
    command = [python, "-c", "from tidegate.cli import main; main()", *arguments, "--output", "json"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def train(example: str, directory: Path) -> tuple[Bundle, Any]:
    """Train an example, and return its bundle and the command's output."""
    python: Path | str = sys.executable
    if example == "keras":
        if not KERAS_PYTHON.exists():
            pytest.skip("Keras has an environment of its own: run `make test-keras` first")
        python = KERAS_PYTHON
    file = ROOT / "examples" / example / "train.yaml"
    trained = tidegate("train", file, "--out", directory, python=python)
    return open_bundle(directory, trained["digest"]), trained


def expected_outputs(bundle: Bundle, rows: Any) -> dict[str, list[Any]]:
    """Compute the outputs of rows with the bundle's own pipeline, in this process."""
    contract = bundle.contract
    pipeline = build_pipeline(bundle.read(SKOPS), policy_for(bundle.manifest.algorithm))
    batch = Batch.from_rows(contract, rows)
    values = predict_outputs(
        pipeline, batch.for_sklearn(contract.layout, contract.feature_names), contract.outputs
    )
    return to_json_outputs(decide_labels(contract.threshold, contract.labels, values))


def count_equal_rows(server: LiveServer, protocol: Protocol, rows: Any, expected: Any) -> int:
    """Request predictions by a protocol; return the number of rows, all of whose outputs are as expected."""
    golden = server.bundle.contract.golden
    address = server.grpc if protocol is Protocol.GRPC else server.http
    outputs = client.predict(address, server.name, protocol, rows).outputs
    assert set(outputs) == ({next(iter(expected))} if protocol is Protocol.V1 else set(expected))
    for name, values in outputs.items():
        for row, (actual, value) in enumerate(zip(values, expected[name], strict=True)):
            assert golden.is_close(actual, value), (protocol, name, row, actual, value)
    return len(rows)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_trains_serves_and_carries_load(example: str, out: Path, summary: dict[str, Any]) -> None:
    bundle, trained = train(example, out / "bundle")
    assert trained["gates"]
    contract = bundle.contract
    rows = [*map(list, contract.golden.rows), *sample_rows(contract, SAMPLE_ROWS, seed=1)]
    expected = expected_outputs(bundle, rows)
    with serving(bundle, out / "server.log") as server:
        equal_rows = {
            protocol.value: count_equal_rows(server, protocol, rows, expected) for protocol in Protocol
        }
        load = tidegate(
            *("loadtest", "run", CAMPAIGN, "--url", server.http, "--grpc-url", server.grpc),
            *("--bundle", bundle.path, "--out", out / "loadtest"),
        )
    assert server.process.returncode == 0
    generator = load["generator"]
    summary[example] = {
        "model": contract.name,
        "task": contract.task,
        "algorithm": bundle.manifest.algorithm,
        "digest": bundle.digest,
        "engine": "onnx" if ONNX in bundle else "sklearn",
        "compared_with_scikit_learn": {
            key: trained["parity"][key] for key in ("verdict", "rows", "max_abs_difference")
        },
        "metrics": trained["metrics"]["test"],
        "gates": trained["gates"],
        "equal_rows": equal_rows,
        "load": {key: load[key] for key in ("requests", "failures", "goodput")}
        | {key: load["latency"][key] for key in ("p50_ms", "p99_ms")}
        | {"generator_cpu": generator["utilization_mean"], "verdict": load["verdict"]},
    }
    assert load["failures"] == 0
    assert load["requests"] > 300

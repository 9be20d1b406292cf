# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.support.signing import new_key, trusting_key, write_private
from tidegate.bundle import METRICS, REPORT, verify
from tidegate.errors import ConfigurationError, DataError, GateNotPassedError, ServerError
from tidegate.reference import ChannelReference, Reference
from tidegate.store import Store
from tidegate.trust.admission import admit
from tidegate_training import termination, tracking
from tidegate_training.cli import train

IRIS = "name: iris\ntask: classification\ndata: {dataset: iris}\nalgorithm: {name: GaussianNB}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "train.yaml"
    file.write_text(IRIS)
    return file


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(train)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_train_text_has_metrics_verdicts_and_the_digest(config: Path, tmp_path: Path) -> None:
    result = run(config, "--out", tmp_path / "bundle")
    assert result.exit_code == 0, result.output
    digest = verify(tmp_path / "bundle").digest
    for words in ("accuracy", "roc_auc", "validation", "No overfitting", "equal to scikit-learn", digest):
        assert words in result.output


def test_train_json_has_the_documented_fields(config: Path, tmp_path: Path) -> None:
    options = ("--extra-format", "joblib", "--report", tmp_path / "report", "-o", "json")
    result = run(config, "--out", tmp_path / "bundle", *options)
    document = json.loads(result.stdout)
    assert document["reference"] is None
    for name in (METRICS, REPORT):
        assert (tmp_path / "report" / name).read_bytes() == (tmp_path / "bundle" / name).read_bytes()
    assert document["digest"] == verify(tmp_path / "bundle").digest
    assert set(document["metrics"]) == {"train", "validation", "test"}
    assert document["parity"]["verdict"] == "equal"
    assert set(document) == {
        *("name", "digest", "reference", "bundle", "metrics", "gap", "overfitting", "parity", "gates"),
        *("champion", "drift", "search", "tracked", "warnings"),
    }
    assert (tmp_path / "bundle" / "model.joblib").is_file()


def test_train_shard_without_shards_or_trials_is_an_error(config: Path, tmp_path: Path) -> None:
    search = "search: {algorithms: [{name: GaussianNB}], trials: 2, shards: 2}\n"
    for text, options, words in [
        (IRIS, ["--shard", "0"], "expected a configuration with 'search'"),
        (IRIS + search, ["--shard", "3", "--trials", "t"], "--shard 3: expected at most 2"),
        (IRIS + search, ["--shard", "0"], "--shard requires --trials"),
    ]:
        config.write_text(text)
        result = run(config, *options, "--out", tmp_path / "bundle")
        assert isinstance(result.exception, ConfigurationError)
        assert words in str(result.exception)


def test_train_shard_runs_its_trials_once(config: Path, tmp_path: Path) -> None:
    options = "metric: f1, trials: 4, shards: 2, folds: {outer: 2, inner: 2}"
    config.write_text(f"{IRIS}search: {{algorithms: [{{name: GaussianNB}}], {options}}}\n")
    arguments = [config, "--shard", "1", "--trials", tmp_path / "trials"]
    assert "Shard 1 is finished; 6 trials were run." in run(*arguments).output
    assert json.loads(run(*arguments, "-o", "json").stdout) == {"name": "iris", "shard": 1, "trials": 0}
    config.write_text(config.read_text() + "expectations: {min_rows: 1000}\n")
    assert isinstance(run(*arguments).exception, DataError)


def test_train_in_a_pod_logs_and_writes_the_result_as_one_line(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setattr(termination, "TERMINATION_LOG", message)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    result = run(config, "--out", tmp_path / "bundle", "--push", (tmp_path / "store").as_uri(), "-o", "json")
    document = json.loads(message.read_text())
    assert document["reference"] == json.loads(result.stdout)["reference"]
    assert document["digest"] == verify(tmp_path / "bundle").digest
    assert document["metrics"] == json.loads(result.stdout)["metrics"]
    assert message.read_text().strip() in result.stderr.splitlines()


def test_train_missed_gate_writes_no_termination_message(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setattr(termination, "TERMINATION_LOG", message)
    config.write_text(IRIS + 'gates: {test.f1: ">= 1.1"}\n')
    assert isinstance(run(config, "--out", tmp_path / "bundle").exception, GateNotPassedError)
    assert message.read_bytes() == b""


def test_train_signs_pushes_and_moves_the_channel(config: Path, tmp_path: Path) -> None:
    uri, key = (tmp_path / "store").as_uri(), new_key()
    store = Store(uri)
    push = ["--push", uri, "--channel", "stable", "--sign", write_private(key, tmp_path / "key.pem")]
    result = run(config, "--out", tmp_path / "bundle", *push, "-o", "json")
    reference = Reference.parse(json.loads(result.stdout)["reference"])
    pulled = store.pull(reference, tmp_path / "pulled")
    assert pulled.digest == reference.digest
    assert admit(pulled, trusting_key(key)) == "training"
    assert store.resolve(ChannelReference(uri, "iris", "stable")) == reference


def test_train_reads_the_signing_key_before_training(config: Path, tmp_path: Path) -> None:
    result = run(config, "--out", tmp_path / "bundle", "--sign", tmp_path / "missing.pem")
    assert isinstance(result.exception, ConfigurationError)
    assert not (tmp_path / "bundle").exists()


def test_train_missed_gate_writes_no_bundle(config: Path, tmp_path: Path) -> None:
    config.write_text(IRIS + 'gates: {test.f1: ">= 1.1"}\n')
    result = run(config, "--out", tmp_path / "bundle", "--report", tmp_path / "report")
    assert isinstance(result.exception, GateNotPassedError)
    reason, _, location = str(result.exception).partition(" The report is ")
    assert location == f"{tmp_path / 'report' / REPORT}."
    assert "test.f1 &gt;= 1.1 is missed by" in (tmp_path / "report" / REPORT).read_text()
    assert json.loads((tmp_path / "report" / METRICS).read_bytes())["rejection"] == reason
    assert not (tmp_path / "bundle").exists()


def test_train_channel_without_push_is_rejected(config: Path) -> None:
    result = run(config, "--channel", "stable")
    assert isinstance(result.exception, ConfigurationError)
    assert "--channel stable requires --push" in str(result.exception)


def test_train_registration_without_push_is_rejected(config: Path) -> None:
    result = run(config, "--register", "churn", "--tracking-uri", "http://mlflow")
    assert isinstance(result.exception, ConfigurationError)
    assert "--register churn requires --push STORE" in str(result.exception)


def test_train_survives_a_failure_of_mlflow(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ServerError("MLflow at http://mlflow has no complete entry of the run: connection closed.")

    monkeypatch.setattr("tidegate_training.sealing.plot_evaluation", lambda *_: {})
    monkeypatch.setattr(tracking, "track_run", fail)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow")
    result = run(config, "--out", tmp_path / "bundle", "-o", "json")
    assert result.exit_code == 0, result.output
    assert "Warning: MLflow at http://mlflow has no complete entry" in result.stderr
    document = json.loads(result.stdout)
    assert document["tracked"] is None
    assert document["digest"] == verify(tmp_path / "bundle").digest


@pytest.mark.parametrize("channel", ["Not A Name", "a/b:stable"])
def test_train_invalid_channel_is_rejected_before_training(
    config: Path, tmp_path: Path, channel: str
) -> None:
    uri = (tmp_path / "store").as_uri()
    result = run(config, "--out", tmp_path / "bundle", "--push", uri, "--channel", channel)
    assert isinstance(result.exception, ConfigurationError)
    assert [entry.name for entry in tmp_path.iterdir()] == ["train.yaml"]


def test_train_invalid_out_is_rejected_before_reading_data(config: Path) -> None:
    config.write_text(IRIS.replace("dataset: iris", "path: gone.csv") + "target: y\n")
    result = run(config, "--out", config / "below")
    assert isinstance(result.exception, ConfigurationError)
    for words in ("cannot be written to", "train.yaml/below: Not a directory", "choose another folder"):
        assert words in str(result.exception)


FILE = """\
name: test
task: {task}
data:
  {data}
{more}
algorithm:
  name: {algorithm}
  parameters:
    {parameters}
gates:
  {gate}
"""
ROWS = "a,b,y\n" + "".join(f"{row},{row}.5,{'yes' if row % 3 else 'no'}\n" for row in range(60))


@pytest.mark.parametrize(
    ("fields", "line", "field"),
    [
        # Found in the file alone.
        ({"algorithm": "Ridge", "parameters": "alpha: 1.0"}, 7, "algorithm.name"),
        ({"gate": "'test.rmse': '<= 2'"}, 11, "gates.test.rmse"),
        ({"gate": "'test.f1': '> 0.9'"}, 11, "gates.test.f1"),
        ({"parameters": "depth: 3"}, 9, "algorithm.parameters.depth"),
        ({"data": "path: data.csv"}, 1, "target"),
        ({"more": "target: species"}, 5, "target"),
        ({"data": "dataset: diabetes"}, 4, "data.dataset"),
        ({"data": "{dataset: iris, format: csv}"}, 4, "data.format"),
        ({"more": "split: {group: a, stratify: true}"}, 5, "split.stratify"),
        ({"more": "preprocessing:\n  numeric:\n    impute: constant"}, 6, "preprocessing.numeric.fill"),
        # Found once the data is read.
        ({"data": "path: data.csv", "more": "target: z"}, 5, "target"),
        ({"data": "path: gone.csv", "more": "target: y"}, 4, "data.path"),
        ({"data": "path: data", "more": "target: y"}, 4, "data.path"),
        ({"data": "path: data.csv", "more": "target: y\nsplit:\n  time: when"}, 7, "split.time"),
        ({"data": "path: data.csv", "more": "target: y\npositive_label: maybe"}, 6, "positive_label"),
        (
            {"data": "path: data.csv", "more": "target: y\nfeatures:\n  keep:\n  - a\n  - z"},
            9,
            "features.keep.1",
        ),
        (
            {"data": "path: data.csv", "more": "target: y\nfeatures:\n  keep:\n  - a\n  - y"},
            9,
            "features.keep.1",
        ),
        ({"data": "path: data.csv", "more": "target: y\nfeatures: {drop: [a, b]}"}, 6, "features"),
        (
            {"data": "path: data.csv", "more": "target: y\nfeatures:\n  overrides:\n    z: {}"},
            8,
            "features.overrides.z",
        ),
        # Found by scikit-learn.
        ({"parameters": "C: -1.0"}, 9, "algorithm.parameters.C"),
    ],
)
def test_train_invalid_field_is_rejected_with_line_and_field(
    config: Path, tmp_path: Path, fields: dict[str, str], line: int, field: str
) -> None:
    defaults = {"task": "classification", "data": "dataset: iris", "more": "", "gate": "'test.f1': '>= 0'"}
    defaults |= {"algorithm": "LogisticRegression", "parameters": "C: 1.0"}
    config.write_text(FILE.format(**defaults | fields))
    (tmp_path / "data.csv").write_text(ROWS)
    (tmp_path / "data").write_text(ROWS)
    result = run(config, "--out", tmp_path / "bundle")
    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception).startswith(f"{config}:{line}: field '{field}': ")
    assert len(str(result.exception).splitlines()) == 1
    assert not (tmp_path / "bundle").exists()


TRAIN_AND_BE_STOPPED = """
import os, signal, sys
import tidegate_training.bundling.bundle

def stop(*arguments, **fields):
    os.kill(os.getpid(), signal.SIGTERM)

tidegate_training.bundling.bundle.seal = stop
sys.argv = ["tidegate", "train", *sys.argv[1:]]
from tidegate.cli import main
main()
"""


def test_train_terminated_keeps_the_previous_bundle(config: Path, tmp_path: Path) -> None:
    assert run(config, "--out", tmp_path / "bundle").exit_code == 0
    before = verify(tmp_path / "bundle").digest
    config.write_text(IRIS + "seed: 1\n")
    arguments = [str(config), "--out", str(tmp_path / "bundle")]
    stopped = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_BE_STOPPED, *arguments], capture_output=True, text=True
    )
    assert stopped.returncode == 143
    assert "Traceback" not in stopped.stderr
    assert verify(tmp_path / "bundle", before)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bundle", "train.yaml"]


def test_cli_import_loads_no_scientific_package() -> None:
    script = (
        "import sys, tidegate_training.cli; "
        "print(sorted({'sklearn', 'pandas', 'onnxruntime', 'skl2onnx', 'matplotlib'} & set(sys.modules)))"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tidegate_training.cli import train
from typer.testing import CliRunner

from tidegate.bundle import verify
from tidegate.errors import ConfigurationError, GateNotPassedError
from tidegate.reference import ChannelReference, Reference
from tidegate.store import Store

IRIS = "name: iris\ntask: classification\ndata: {dataset: iris}\nalgorithm: {name: GaussianNB}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "train.yaml"
    file.write_text(IRIS)
    return file


def run(*arguments: str | Path):
    app = typer.Typer()
    app.command()(train)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_report_for_people_has_metrics_verdicts_and_the_digest(config: Path, tmp_path: Path):
    done = run(config, "--out", tmp_path / "bundle")
    assert done.exit_code == 0, done.output
    digest = verify(tmp_path / "bundle").digest
    for part in ("accuracy", "roc_auc", "validation", "No overfitting", "equal to scikit-learn", digest):
        assert part in done.output


def test_the_report_for_scripts_is_json_with_the_agreed_fields(config: Path, tmp_path: Path):
    done = run(config, "--out", tmp_path / "bundle", "--extra-format", "joblib", "-o", "json")
    document = json.loads(done.stdout)
    assert document["reference"] is None
    assert document["digest"] == verify(tmp_path / "bundle").digest
    assert set(document["metrics"]) == {"train", "validation", "test"}
    assert document["parity"]["verdict"] == "equal"
    assert {"name", "bundle", "gap", "overfitting", "gates"} <= set(document)
    assert (tmp_path / "bundle" / "model.joblib").is_file()


def test_a_pushed_bundle_can_be_pulled_by_reference_and_channel(config: Path, tmp_path: Path):
    uri = (tmp_path / "store").as_uri()
    done = run(config, "--out", tmp_path / "bundle", "--push", uri, "--channel", "stable", "-o", "json")
    reference = Reference.parse(json.loads(done.stdout)["reference"])
    store = Store(uri)
    assert store.pull(reference, tmp_path / "pulled").digest == reference.digest
    assert store.resolve(ChannelReference(uri, "iris", "stable")) == reference


def test_a_missed_gate_is_raised_for_the_command_line_to_tell(config: Path, tmp_path: Path):
    config.write_text(IRIS + 'gates: {test.f1: ">= 1.1"}\n')
    done = run(config, "--out", tmp_path / "bundle")
    assert isinstance(done.exception, GateNotPassedError)
    assert not (tmp_path / "bundle").exists()


def test_a_channel_needs_a_store(config: Path):
    assert isinstance(run(config, "--channel", "stable").exception, ConfigurationError)


@pytest.mark.parametrize("channel", ["Not A Name", "a/b:stable"])
def test_a_channel_that_is_none_costs_no_training(config: Path, tmp_path: Path, channel: str):
    uri = (tmp_path / "store").as_uri()
    done = run(config, "--out", tmp_path / "bundle", "--push", uri, "--channel", channel)
    assert isinstance(done.exception, ConfigurationError)
    assert [entry.name for entry in tmp_path.iterdir()] == ["train.yaml"]


def test_a_destination_that_cannot_be_is_told_before_the_data_is_read(config: Path):
    config.write_text(IRIS.replace("dataset: iris", "path: gone.csv") + "target: y\n")
    done = run(config, "--out", config / "below")
    with pytest.raises(
        ConfigurationError, match=r"cannot be written to .*train\.yaml/below: Not a directory"
    ):
        raise done.exception


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
            {"data": "path: data.csv", "more": "target: y\nfeatures:\n  each:\n    z: {}"},
            8,
            "features.overrides.z",
        ),
        # Found by scikit-learn.
        ({"parameters": "C: -1.0"}, 9, "algorithm.parameters.C"),
    ],
)
def test_a_mistake_is_told_with_the_line_and_the_field(
    config: Path, tmp_path: Path, fields: dict[str, str], line: int, field: str
):
    usual = {"task": "classification", "data": "dataset: iris", "more": "", "gate": "'test.f1': '>= 0'"}
    usual |= {"algorithm": "LogisticRegression", "parameters": "C: 1.0"}
    config.write_text(FILE.format(**usual | fields))
    (tmp_path / "data.csv").write_text(ROWS)
    (tmp_path / "data").write_text(ROWS)
    done = run(config, "--out", tmp_path / "bundle")
    assert isinstance(done.exception, ConfigurationError)
    assert str(done.exception).startswith(f"{config}:{line}: field '{field}': ")
    assert len(str(done.exception).splitlines()) == 1
    assert not (tmp_path / "bundle").exists()


TRAIN_AND_BE_STOPPED = """
import os, signal, sys
import tidegate_training.run

def stop(*arguments, **fields):
    os.kill(os.getpid(), signal.SIGTERM)

tidegate_training.run.seal = stop
sys.argv = ["tidegate", "train", *sys.argv[1:]]
from tidegate.cli import main
main()
"""


def test_a_run_that_is_terminated_leaves_the_bundle_of_before_and_nothing_else(config: Path, tmp_path: Path):
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


def test_asking_for_help_imports_nothing_heavy():
    script = (
        "import sys, training, tidegate_training.cli; "
        "print(sorted({'sklearn', 'pandas', 'onnxruntime', 'skl2onnx', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bundles import write_bundle

TIDEGATE = Path(sys.executable).with_name("tidegate")


def tidegate(*arguments, **options):
    return subprocess.run([TIDEGATE, *map(str, arguments)], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundles") / "iris")


def test_help_names_every_command_and_the_exit_codes():
    run = tidegate("--help")
    assert run.returncode == 0
    commands = "submit status train push pull verify inspect serve predict loadtest"
    for command in commands.split():
        assert command in run.stdout
    assert "2 bad input" in run.stdout


def test_help_imports_nothing_heavy():
    heavy = ["sklearn", "kserve", "onnxruntime", "pandas", "locust", "matplotlib", "skops"]
    script = (
        f"import sys, tidegate.cli; tidegate.cli.build(); print([m for m in {heavy} if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_shell_completes_the_commands():
    # The shell is found among the parents, and bash would not be one if this were the last that it runs.
    shown = subprocess.run(
        ["bash", "-c", f"'{TIDEGATE}' --show-completion; true"], capture_output=True, text=True
    )
    assert "complete -o default -F _tidegate_completion tidegate" in shown.stdout
    asked = {"_TIDEGATE_COMPLETE": "complete_bash", "COMP_WORDS": "tidegate ins", "COMP_CWORD": "1"}
    assert tidegate(env=os.environ | asked).stdout.split() == ["inspect"]


def test_a_bundle_goes_to_a_store_and_back(bundle, tmp_path):
    pushed = tidegate("push", bundle.path, tmp_path / "store", "--channel", "stable", "--output", "json")
    assert pushed.returncode == 0, pushed.stderr
    reference = json.loads(pushed.stdout)["reference"]
    assert reference.endswith(f"/store/iris@sha256:{bundle.digest}")
    channel = json.loads(pushed.stdout)["channel"]
    pulled = tidegate("pull", channel, tmp_path / "pulled", "--output", "json")
    assert pulled.returncode == 0, pulled.stderr
    assert json.loads(pulled.stdout)["reference"] == reference
    assert tidegate("verify", tmp_path / "pulled", "--digest", bundle.digest).returncode == 0
    shown = json.loads(tidegate("inspect", reference, "--output", "json").stdout)
    assert shown["digest"] == bundle.digest
    assert shown["contract"]["name"] == "iris"


def test_inspect_shows_a_person_the_contract(bundle):
    shown = tidegate("inspect", bundle.path).stdout
    assert "iris" in shown
    assert "1 to 7" in shown
    assert "blue, red" in shown


def test_verify_says_file_by_file_what_is_wrong(tmp_path):
    damaged = write_bundle(tmp_path / "iris")
    (damaged.path / "model.skops").write_bytes(b"b model")
    (damaged.path / "metrics.json").unlink()
    (damaged.path / "[").mkdir()
    (damaged.path / "[" / "x]").write_text("")
    run = tidegate("verify", damaged.path)
    assert run.returncode == 2
    assert "model.skops" in run.stdout
    assert "no such file" in run.stdout
    assert run.stderr.startswith("error: 3 of")
    assert "[/x]" in run.stdout
    assert "[/x]" in run.stderr
    run = tidegate("verify", damaged.path, "--output", "json")
    assert {problem["file"] for problem in json.loads(run.stdout)["problems"]} == {
        "model.skops",
        "metrics.json",
        "[/x]",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["pull", "iris", "x"], 2, "no reference to a channel"),
        (["inspect", "nowhere"], 2, "neither a directory nor a reference"),
        (["pull", "file:///nowhere/iris:stable", "x"], 1, "cannot be opened"),
        (["train", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["train", "missed.yaml"], 3, "misses a gate"),
    ],
)
def test_a_failure_is_one_sentence_and_its_exit_code(arguments, code, sentence, tmp_path):
    (tmp_path / "missed.yaml").write_text(
        "name: iris\ntask: classification\ndata: {dataset: iris}\nalgorithm: {name: GaussianNB}\n"
        'gates: {test.f1: ">= 1.1"}\n'
    )
    run = tidegate(*arguments, cwd=tmp_path)
    assert run.returncode == code
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr


PULL_AND_BE_STOPPED = """
import os, signal, sys
import tidegate.objects

def stop(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)

tidegate.objects.Objects.download = stop
sys.argv = ["tidegate", "pull", *sys.argv[1:]]
from tidegate.cli import main
main()
"""


def test_a_command_that_is_terminated_takes_away_what_it_was_writing(bundle, tmp_path):
    pushed = tidegate("push", bundle.path, tmp_path / "store", "--output", "json")
    arguments = [json.loads(pushed.stdout)["reference"], tmp_path / "here" / "iris"]
    run = subprocess.run(
        [sys.executable, "-c", PULL_AND_BE_STOPPED, *arguments], capture_output=True, text=True
    )
    assert run.returncode == 143
    assert "Traceback" not in run.stderr
    assert list((tmp_path / "here").iterdir()) == []


def test_a_command_whose_extra_is_missing_says_what_to_install():
    script = (
        "import sys; sys.modules['sklearn'] = sys.modules['pandas'] = sys.modules['skops'] = None\n"
        "sys.argv = ['tidegate', 'train', 'examples/breast-cancer/train.yaml']\n"
        "import tidegate.cli; tidegate.cli.main()"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 2
    assert "install tidegate[training]" in run.stderr
    assert "Traceback" not in run.stderr

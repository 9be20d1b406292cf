# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from tests.support.bundles import write_bundle
from tidegate.cli import build

TIDEGATE = Path(sys.executable).with_name("tidegate")


def walk(command, path):
    """Yield every command and every group of commands, by its path on the command line."""
    yield path, command
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from walk(subcommand, (*path, name))


def squeezed(text):
    """Remove all white space, because help texts are wrapped."""
    return "".join(text.split())


def tidegate(*arguments, **options):
    return subprocess.run([TIDEGATE, *map(str, arguments)], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundles") / "iris")


def test_help_lists_every_command_and_the_exit_codes():
    run = tidegate("--help")
    assert run.returncode == 0
    commands = "submit status train evaluate push pull sign verify inspect serve predict loadtest"
    for command in commands.split():
        assert command in run.stdout
    assert "2 bad input" in run.stdout


COMMANDS = dict(walk(typer.main.get_command(build()), ()))


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_shows_every_text_and_metavar_literally(path, columns):
    run = CliRunner().invoke(build(), [*path, "--help"], env={"COLUMNS": str(columns)})
    assert run.exit_code == 0, run.output
    shown = squeezed(run.stdout)
    command = COMMANDS[path]
    assert squeezed(command.help.partition("\f")[0]) in shown
    for parameter in command.params:
        assert squeezed(parameter.help or "") in shown
        assert parameter.metavar is None or squeezed(parameter.metavar) in shown


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("inspect", "<store>/<name>@sha256:<digest>, <store>/<name>:<channel>"),
        ("pull", "<store>/<name>@sha256:<digest>, <store>/<name>:<channel>"),
        ("serve", "<store>/<name>@sha256:<digest>, <store>/<name>:<channel>"),
    ],
)
def test_help_of_the_program_shows_references_literally(command, text):
    run = tidegate(command, "--help")
    assert run.returncode == 0
    assert squeezed(text) in squeezed(run.stdout)


def test_help_shows_brackets_and_angles_of_any_command(monkeypatch):
    def odd(place: Annotated[str, typer.Argument(help="[red] <b>, *x* `y` [/a]:", metavar="HOST[:PORT]")]):
        """Show <store>/<name> and [brackets] of **this** command."""

    entry = SimpleNamespace(name="odd", load=lambda: odd)
    monkeypatch.setattr("tidegate.cli.entry_points", lambda group: [entry])
    shown = CliRunner().invoke(build(), ["odd", "--help"]).stdout
    assert "Show <store>/<name> and [brackets] of **this** command." in shown
    assert "[red] <b>, *x* `y` [/a]:" in shown
    assert "HOST[:PORT]" in shown


@pytest.mark.parametrize("name", ["inspect", "pull", "push", "sign", "verify", "evaluate", "status"])
def test_summary_of_command_fits_into_80_columns(name):
    summary = COMMANDS[(name,)].help.partition("\n")[0]
    shown = CliRunner().invoke(build(), ["--help"], env={"COLUMNS": "80"}).stdout
    assert f"{name:10}{summary.partition('. ')[0]}" in shown


def test_build_imports_no_heavy_package():
    heavy = ["sklearn", "kserve", "onnxruntime", "pandas", "locust", "matplotlib", "skops"]
    script = (
        f"import sys, tidegate.cli; tidegate.cli.build(); print([m for m in {heavy} if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_completion_of_bash_completes_the_commands():
    # typer looks for the shell among the parent processes. Without 'true', bash would exec the command.
    shown = subprocess.run(
        ["bash", "-c", f"'{TIDEGATE}' --show-completion; true"], capture_output=True, text=True
    )
    assert "complete -o default -F _tidegate_completion tidegate" in shown.stdout
    request = {"_TIDEGATE_COMPLETE": "complete_bash", "COMP_WORDS": "tidegate ins", "COMP_CWORD": "1"}
    assert tidegate(env=os.environ | request).stdout.split() == ["inspect"]


def test_push_pull_verify_and_inspect_one_bundle(bundle, tmp_path):
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


def test_inspect_shows_the_contract_as_text(bundle):
    shown = tidegate("inspect", bundle.path).stdout
    assert "iris" in shown
    assert "1 to 7" in shown
    assert "blue, red" in shown


def test_verify_reports_every_damaged_file(tmp_path):
    damaged = write_bundle(tmp_path / "iris")
    (damaged.path / "model.skops").write_bytes(b"b model")
    (damaged.path / "metrics.json").unlink()
    (damaged.path / "[").mkdir()
    (damaged.path / "[" / "x]").write_text("")
    run = tidegate("verify", damaged.path)
    assert run.returncode == 2
    assert "model.skops" in run.stdout
    assert "no such file" in run.stdout
    assert run.stderr.startswith("error: 3 files of")
    assert "[/x]" in run.stdout
    assert "[/x]" in run.stderr
    run = tidegate("verify", damaged.path, "--output", "json")
    assert {problem["file"] for problem in json.loads(run.stdout)["problems"]} == {
        "model.skops",
        "metrics.json",
        "[/x]",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pull", "iris", "x"], 2, "not a reference to a channel"),
        (["inspect", "nowhere"], 2, "neither a directory nor a reference"),
        (["pull", "file:///nowhere/iris:stable", "x"], 1, "cannot be opened"),
        (["train", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["train", "missed.yaml"], 3, "misses a gate"),
    ],
)
def test_failure_prints_a_message_and_exits_with_its_code(arguments, code, message, tmp_path):
    (tmp_path / "missed.yaml").write_text(
        "name: iris\ntask: classification\ndata: {dataset: iris}\nalgorithm: {name: GaussianNB}\n"
        'gates: {test.f1: ">= 1.1"}\n'
    )
    run = tidegate(*arguments, cwd=tmp_path)
    assert run.returncode == code
    assert message in run.stderr
    assert "Traceback" not in run.stderr


PULL_AND_TERMINATE = """
import os, signal, sys
import tidegate.objects

def terminate(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)

tidegate.objects.Objects.download = terminate
sys.argv = ["tidegate", "pull", *sys.argv[1:]]
from tidegate.cli import main
main()
"""


def test_sigterm_removes_the_partial_output(bundle, tmp_path):
    pushed = tidegate("push", bundle.path, tmp_path / "store", "--output", "json")
    arguments = [json.loads(pushed.stdout)["reference"], tmp_path / "here" / "iris"]
    run = subprocess.run(
        [sys.executable, "-c", PULL_AND_TERMINATE, *arguments], capture_output=True, text=True
    )
    assert run.returncode == 143
    assert "Traceback" not in run.stderr
    assert list((tmp_path / "here").iterdir()) == []


def test_command_without_its_extra_names_the_extra():
    script = (
        "import sys; sys.modules['sklearn'] = sys.modules['pandas'] = sys.modules['skops'] = None\n"
        "sys.argv = ['tidegate', 'train', 'examples/breast-cancer/train.yaml']\n"
        "import tidegate.cli; tidegate.cli.main()"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 2
    assert "install tidegate[training]" in run.stderr
    assert "Traceback" not in run.stderr

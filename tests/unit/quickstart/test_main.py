# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The quick start with fake programs: order of the commands, continuation, failures, removal."""

import json
import shlex
from pathlib import Path

import pytest

from tests.unit.quickstart.conftest import Programs
from tidegate.errors import ServerError
from tools.quickstart import __main__ as quickstart
from tools.quickstart.plan import KIND, KUBECONFIG, PROVIDERS, Step

DIGEST = "d" * 64
REFERENCE = f"s3://models/breast-cancer@sha256:{DIGEST}"
PROVIDER = PROVIDERS[KIND]


@pytest.fixture
def checkout(programs: Programs, tmp_path: Path) -> Path:
    """A checkout with fake programs; no cluster exists, and the training prints its log and a reference."""
    for name in ("docker", "helm", "kubectl"):
        programs.add(name)
    programs.add("kind", 'test "$1" != export')
    programs.add("tidegate", f"echo {REFERENCE}", tmp_path / ".venv" / "bin")
    return tmp_path


def as_calls(steps: list[Step]) -> list[str]:
    return [f"{KUBECONFIG} {step.line.removeprefix('.venv/bin/')}" for step in steps]


def test_start_runs_every_command_with_the_digest(
    checkout: Path, programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    quickstart.start(PROVIDER, checkout)
    create, *others = PROVIDER.all_steps(DIGEST)
    assert programs.calls() == [
        f"{KUBECONFIG} {shlex.join(create.unless)}",
        *as_calls([create, *others]),
    ]
    summary = json.loads((checkout / "out" / "quickstart" / "summary.json").read_text())
    assert (summary["provider"], summary["reference"]) == (KIND, REFERENCE)
    assert [command["done_already"] for command in summary["commands"]] == [False] * len(summary["commands"])
    printed = capsys.readouterr().out
    assert all(f"$ {step.line}\n" in printed for step in others)
    assert f"{len(others) + 1} commands" in printed


def test_start_with_existing_cluster_does_not_create_it(checkout: Path, programs: Programs) -> None:
    programs.add("kind")
    quickstart.start(PROVIDER, checkout)
    assert as_calls(PROVIDER.all_steps()[:1])[0] not in programs.calls()


def test_failed_command_ends_the_run_and_is_named(checkout: Path, programs: Programs) -> None:
    programs.add("docker", "exit 4")
    with pytest.raises(ServerError, match=r"docker build exited with 4, expected 0.*again"):
        quickstart.start(PROVIDER, checkout)
    assert programs.calls()[-1].startswith(f"{KUBECONFIG} docker build")


def test_undo_deletes_only_the_cluster_of_the_quickstart(checkout: Path, programs: Programs) -> None:
    assert quickstart.main(["--provider", KIND, "--undo"]) == 0
    assert programs.calls() == [f"{KUBECONFIG} kind delete cluster --name tidegate-quickstart"]


def test_plan_is_printed_and_not_run(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    assert quickstart.main(["--provider", KIND, "--plan"]) == 0
    assert "kind create cluster" in capsys.readouterr().out
    assert programs.calls() == []


def test_machine_for_no_provider_exits_with_2(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--plan"], ["--provider", KIND]):
        assert quickstart.main(options) == 2
        assert "docker 20.10 or later: not found" in capsys.readouterr().err
    assert programs.calls() == []

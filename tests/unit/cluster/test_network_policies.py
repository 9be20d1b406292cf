# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io
from pathlib import Path

import pytest

from tools.cluster import network_policies, packages, process, toolchain
from tools.cluster.command import Runner
from tools.cluster.layout import Layout
from tools.cluster.progress import Progress
from tools.cluster.state import Record, StartedProcess
from tools.cluster.toolchain import Toolchain


@pytest.fixture
def started(record: Record, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the processes that are started; each runs until the end of the test."""
    commands: list[list[str]] = []

    def spawn(name: str, argv: list[str], *, record: Record, **_: object) -> None:
        commands.append(argv)
        record.add(StartedProcess(name, 7, 42))

    built = Toolchain({"kube-router": Path("/built")}, {"kube-router": "v2.1.0"})
    monkeypatch.setattr(packages, "ensure", lambda *_: None)
    monkeypatch.setattr(toolchain, "ensure", lambda *_: built)
    monkeypatch.setattr(process, "spawn", spawn)
    monkeypatch.setattr(process, "is_alive", lambda one: one.pid == 7)
    monkeypatch.setattr(Runner, "run", lambda *_: "-A FORWARD -j KUBE-ROUTER-FORWARD")
    return commands


def test_install_starts_the_firewall_once(layout: Layout, record: Record, started: list[list[str]]) -> None:
    for _ in range(2):
        versions = network_policies.install(layout, record, Runner(), Progress(io.StringIO()))
        assert versions == {"kube-router": "v2.1.0"}
    [command] = started
    assert "/built/bin/kube-router" in command
    assert {"--run-firewall=true", "--run-router=false", "--run-service-proxy=false"} < set(command)


def test_install_replaces_a_firewall_that_has_ended(
    layout: Layout, record: Record, started: list[list[str]]
) -> None:
    record.add(StartedProcess("kube-router", 6, 1))
    network_policies.install(layout, record, Runner(), Progress(io.StringIO()))
    assert len(started) == 1
    assert [one.pid for one in record.state.processes] == [7]

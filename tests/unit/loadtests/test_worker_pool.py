# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

"""Campaigns of a master and workers, each a process of its own, on the loopback interface."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tidegate_loadtests import runner
from tidegate_loadtests.cli import run
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.runner import Progress, check_team
from tidegate_loadtests.worker_pool import Address, Team

from tests.support.stub_server import make_contract, serving
from tests.unit.loadtests.test_runner import write_bundle, write_plan
from tidegate.console import OutputFormat
from tidegate.errors import ConfigurationError, ExitCode, TidegateError


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@contextmanager
def workers(port: int, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Workers that look for a master on this port; gone when the block is left."""
    command = [sys.executable, "-c", "from tidegate_loadtests.cli import app; app()"]
    command += ["work", "--master", f"127.0.0.1:{port}"]
    started = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_two_workers_send_together_what_was_planned_and_the_master_reports_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, port = tmp_path / "out", free_port()
    with serving() as stub, workers(port, 2) as processes:
        with pytest.MonkeyPatch.context() as patch:
            # How busy this machine is while it tests is not what is tested.
            patch.setattr("tidegate_loadtests.generator_cpu.Generator.saturated", False)
            run(
                write_plan(tmp_path),
                stub.url,
                str(write_bundle(tmp_path, "stub")),
                out=out,
                output=OutputFormat.JSON,
                workers=2,
                bind=f"127.0.0.1:{port}",
                push=str(tmp_path / "store"),
            )
        assert [process.wait(20) for process in processes] == [0, 0]
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "pass"
    assert (document["requests"], document["failures"]) == (200, 0)
    assert stub.seen.total() == 300  # with the warm-up
    assert len((out / "samples.csv").read_text().splitlines()) == 1 + 300
    names = [worker["worker"] for worker in document["workers"]]
    assert [name.partition(" on ")[0] for name in names] == ["worker 0", "worker 1"]
    assert all(worker["cpu_mean"] > 0 for worker in document["workers"])
    assert all(worker["began_within_ms"] > 0 for worker in document["workers"])
    stored = {path.name: path for path in (tmp_path / "store" / "stub").glob("*/*")}
    assert stored.keys() == {"report.html", "summary.json", "samples.csv"}
    assert document["report"] == stored["report.html"].as_uri()
    assert stored["samples.csv"].read_bytes() == (out / "samples.csv").read_bytes()


def test_a_worker_that_is_killed_midway_voids_the_campaign(tmp_path: Path) -> None:
    port = free_port()
    plan = LoadTest(rate=20, connections=2, duration=60, warmup=0)
    team = Team(2, Address("127.0.0.1", port))
    with serving() as stub, workers(port, 2) as processes:

        def kill_once_it_asks(state: Progress) -> None:
            if state.requests:
                processes[0].kill()

        with pytest.raises(TidegateError, match=r"decides nothing: worker \d on .* was lost") as error:
            runner.run(plan, make_contract(), stub.url, tmp_path, kill_once_it_asks, team)
        assert error.value.exit_code is ExitCode.CRASH
        # The other one was told to end, before its share was done.
        assert processes[1].wait(20) == 1


def test_a_worker_that_stands_still_for_some_seconds_voids_nothing(tmp_path: Path) -> None:
    port = free_port()
    plan = LoadTest(rate=10, connections=2, duration=8, warmup=0, timeout=20)
    team = Team(2, Address("127.0.0.1", port))
    with serving() as stub, workers(port, 2) as processes:
        looks: list[float] = []

        def stall_once_it_asks(state: Progress) -> None:
            if state.requests:
                looks.append(time.monotonic())
            if len(looks) == 1:
                processes[0].send_signal(signal.SIGSTOP)
            elif looks and looks[-1] - looks[0] > 6.5:  # Locust itself would bear five at most
                processes[0].send_signal(signal.SIGCONT)

        samples, _ = runner.run(plan, make_contract(), stub.url, tmp_path, stall_once_it_asks, team)
        assert [process.wait(20) for process in processes] == [0, 0]
    assert len(samples) == plan.planned


def test_a_worker_that_never_comes_voids_the_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_WORKERS_SECONDS", 0.6)
    team = Team(3, Address("127.0.0.1", free_port()))
    with serving() as stub, pytest.raises(TidegateError, match=r"of 3 workers 0 came within 0.6 s; start"):
        runner.run(LoadTest(users=3, duration=1), make_contract(), stub.url, tmp_path, lambda _: None, team)


def test_a_plan_that_workers_cannot_share_is_refused() -> None:
    team = Team(3, Address("127.0.0.1", free_port()))
    check_team(LoadTest(users=3, duration=1), team)
    with pytest.raises(ConfigurationError, match="2 connections cannot be shared by 3 workers"):
        check_team(LoadTest(users=2, duration=1), team)
    with pytest.raises(ConfigurationError, match=r"'core' \(1\) is a core of this machine"):
        check_team(LoadTest(users=3, duration=1, core=1), team)


def test_a_port_that_is_taken_is_said_before_anything_is_started() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"cannot listen at 127.0.0.1:{port} \(.*in use"):
            check_team(LoadTest(users=1, duration=1), Team(1, Address("127.0.0.1", port)))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("*", "*", 5557),
        ("load-master", "load-master", 5557),
        ("load-master.models.svc:7000", "load-master.models.svc", 7000),
        ("[::1]", "::1", 5557),
        ("[::1]:7000", "::1", 7000),
    ],
)
def test_a_master_has_a_host_and_perhaps_a_port(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize("text", ["", ":5557", "host:", "host:x", "host:0", "host:65536", "http://host:1"])
def test_what_is_no_address_of_a_master_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no address of a master: expected HOST or HOST:PORT"):
        Address.parse(text)

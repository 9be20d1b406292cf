# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

"""Short campaigns against a real server on the loopback interface."""

import json
import socket
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tidegate_loadtests import generator_cpu, runner, worker_pool
from tidegate_loadtests.cli import run
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.runner import Progress

from tests.support.stub_server import make_contract, serving
from tidegate.bundle import BASELINE, CONTRACT, METRICS, MODEL_CARD, PARITY, SKOPS, seal
from tidegate.console import OutputFormat
from tidegate.digest import canonical_json
from tidegate.errors import ConfigurationError, ExitCode, ServerError, TidegateError

PLAN = """\
rate: 200
connections: 8
duration: 1
warmup: 0.5
timeout: 20
protocols: {v1: 1, v2: 1, v2-binary: 1}
rows: 2
objective: {p95_ms: 20000}
"""


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that always had its core, however busy this machine is."""
    found = Generator(core=None, cpu_mean=0.1, cpu_peak=0.1, wait_mean=0.0, saturated_share=0.0)
    monkeypatch.setattr(generator_cpu, "assess", lambda *_: found)


def write_plan(folder: Path, text: str = PLAN) -> Path:
    file = folder / "loadtest.yaml"
    file.write_text(text)
    return file


def write_bundle(folder: Path, name: str) -> Path:
    path = folder / "bundle"
    path.mkdir()
    (path / CONTRACT).write_bytes(canonical_json(make_contract(name).model_dump(mode="json")))
    for file in (SKOPS, PARITY, BASELINE, METRICS, MODEL_CARD):
        (path / file).write_bytes(b"{}")
    data = {"sha256": "0" * 64, "rows": 9}
    facts = {"algorithm": "Stub", "parameters": {}, "seed": 1, "data": data, "versions": {}}
    seal(path, name=name, task="classification", **facts)
    return path


@pytest.mark.usefixtures("calm")
def test_a_campaign_sends_what_was_planned_and_its_report_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with serving() as stub:
        run(
            write_plan(tmp_path),
            stub.url,
            str(write_bundle(tmp_path, "bundled")),
            "stub",
            out,
            OutputFormat.JSON,
        )
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "pass"
    assert (document["requests"], document["failures"]) == (200, 0)
    assert stub.seen.total() == 300  # with the warm-up
    assert stub.rows.total() == 600
    lines = (out / "samples.csv").read_text().splitlines()[1:]
    assert Counter(line.split(",")[5] for line in lines) == stub.seen
    assert all(count > 40 for count in stub.seen.values())
    assert document["report"] == str(out / "report.html")
    assert "Load test of stub: <b>pass</b>" in (out / "report.html").read_text()
    written = json.loads((out / "summary.json").read_text())
    assert written | {"report": document["report"]} == document


@pytest.mark.usefixtures("calm")
def test_errors_and_wrong_answers_are_failures_and_end_with_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(number: int) -> str | None:
        wrong = {150: "status", 160: "status", 170: "bytes", 180: "cut"}
        return wrong.get(number, "label" if number >= 200 else None)

    with serving(spoil) as stub, pytest.raises(TidegateError, match="The objective was not met") as error:
        run(write_plan(tmp_path), stub.url, str(write_bundle(tmp_path, "stub")), out=tmp_path / "out")
    assert error.value.exit_code is ExitCode.GATE_NOT_PASSED
    assert "fail" in capsys.readouterr().out
    errors = json.loads((tmp_path / "out" / "summary.json").read_text())["errors"]
    counts = {entry["error"]: entry["count"] for entry in errors}
    assert counts.pop('status 500: {"error": "out of order"}') == 2
    assert counts.pop("status 503: \ufffd\ufffd") == 1
    (cut,) = [error for error in counts if error.startswith("no answer")]
    assert counts.pop(cut) == 1
    # One question in eight is a golden one.
    assert 1 <= counts.pop("wrong answer: label of a golden row") <= 20
    assert not counts


def test_a_closed_loop_asks_as_fast_as_it_is_answered(tmp_path: Path) -> None:
    plan = LoadTest(users=2, duration=2, warmup=0.2)
    seen: list[Progress] = []
    with serving() as stub:
        samples, (load,) = runner.run(plan, make_contract(), stub.url, tmp_path, seen.append)
    assert len(samples) == stub.seen.total() > 20
    assert samples.right.all()
    assert (samples.end[samples.intended >= 0] > 0).all()
    assert seen[-1].requests == len(samples)
    assert load.cpu_mean > 0


def test_a_silent_server_costs_each_request_its_timeout_and_no_more(tmp_path: Path) -> None:
    plan = LoadTest(rate=20, connections=2, duration=1, warmup=0, timeout=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runner, "ask_readiness", lambda *_: None)
            samples, _ = runner.run(plan, make_contract(), address, tmp_path, lambda _: None)
    assert len(samples) == plan.planned
    assert set(samples.error) == {
        "no answer within 0.3 s of the intended start",
        "not sent within 0.3 s of the intended start",
    }


@pytest.mark.parametrize("reason", [ConnectionRefusedError(111, "refused"), socket.gaierror(-3, "try again")])
def test_a_name_or_a_server_that_is_not_found_yet_is_looked_for_again(
    reason: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [reason] * 3
    connect = socket.create_connection

    def shaky(*arguments: Any, **options: Any) -> socket.socket:
        if failures:
            raise failures.pop()
        return connect(*arguments, **options)

    monkeypatch.setattr(runner, "_CONNECT_PAUSES", (0.0, 0.0, 0.0))
    with serving() as stub:
        monkeypatch.setattr("socket.create_connection", shaky)
        runner.ask_readiness(stub.url, "stub", timeout=20)
    assert not failures


def test_a_connection_that_broke_after_the_question_is_not_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:

        def hang_up() -> int:
            with listener.accept()[0] as connection:
                return len(connection.recv(9))

        asked = pool.submit(hang_up)
        with pytest.raises(ServerError, match="did not answer"):
            runner.ask_readiness(f"http://127.0.0.1:{listener.getsockname()[1]}", "stub", timeout=20)
        assert asked.result() == 9
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_server_that_is_not_there_is_said_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_CONNECT_PAUSES", (0.0, 0.0))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ServerError, match=r"stub/ready did not answer .*: start the server"):
        runner.run(LoadTest(users=1, duration=1), make_contract(), address, tmp_path, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_the_model_is_said_before_anything_is_started() -> None:
    with (
        serving() as stub,
        pytest.raises(ServerError, match="other/ready answered with status 404, expected 200"),
    ):
        runner.ask_readiness(stub.url, "other", timeout=2)


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'localhost:8080' is no address of a server"):
        runner.ask_readiness("localhost:8080", "stub", timeout=2)


def test_a_generator_that_fails_is_told_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [sys.executable, "-c", "import sys; print('out of order'); sys.exit(1)"]
    monkeypatch.setattr(worker_pool, "_LOCUST", broken)
    with (
        serving() as stub,
        pytest.raises(TidegateError, match=r"generator failed with exit code 1; its log is .*locust\.log"),
    ):
        runner.run(LoadTest(users=1, duration=1), make_contract(), stub.url, tmp_path, lambda _: None)
    assert (tmp_path / "locust.log").read_text() == "out of order\n"

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Short campaigns of one generator against a server on the loopback interface."""

import functools
import socket
import sys
from pathlib import Path

import pytest

from tests.support.stub_server import make_contract, run_stub_server
from tidegate.errors import ServerError, TidegateError
from tidegate.protocol.connect import retry_connect
from tidegate_loadtests import locust_process, readiness, runner
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.run_files import RunStatus
from tidegate_loadtests.runner import Progress
from tidegate_loadtests.worker_pool import WorkerPool


def ignore(progress: Progress) -> None:
    pass


def test_run_of_a_closed_loop_follows_the_server(tmp_path: Path) -> None:
    plan = LoadTest(users=2, duration=2, warmup=0.2)
    progress: list[Progress] = []
    with run_stub_server() as stub:
        samples, (generator,) = runner.run(plan, make_contract(), stub.url, tmp_path, progress.append)
    assert len(samples) == stub.requests.total() > 20
    assert samples.successful.all()
    assert (samples.completed[samples.intended_start >= 0] > 0).all()
    assert progress[-1].requests == len(samples)
    assert generator.utilization_mean > 0


def test_run_without_responses_ends_after_the_timeouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = LoadTest(rate=20, connections=2, duration=1, warmup=0, timeout=0.3)
    monkeypatch.setattr(runner, "verify_readiness", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        samples, _ = runner.run(plan, make_contract(), url, tmp_path, ignore)
    assert len(samples) == plan.planned_requests
    assert set(samples.error) == {
        "no response within 0.3 s of the intended start",
        "not sent within 0.3 s of the intended start",
    }


def test_run_without_a_server_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = functools.partial(retry_connect, pauses=(0.0, 0.0))
    monkeypatch.setattr(readiness, "retry_connect", lambda call, retryable, **_: at_once(call, retryable))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ServerError, match=r"stub/ready did not respond .*: start the server"):
        runner.run(LoadTest(users=1, duration=1), make_contract(), url, tmp_path, ignore)
    assert list(tmp_path.iterdir()) == []


def test_run_with_a_failed_generator_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [sys.executable, "-c", "import sys; print('out of order'); sys.exit(1)"]
    monkeypatch.setattr(locust_process, "_LOCUST", broken)
    with (
        run_stub_server() as stub,
        pytest.raises(TidegateError, match=r"generator failed with exit code 1: .* log .*locust\.log"),
    ):
        runner.run(LoadTest(users=1, duration=1), make_contract(), stub.url, tmp_path, ignore)
    assert (tmp_path / "locust.log").read_text() == "out of order\n"


def test_deadline_is_for_the_start_and_then_for_the_end() -> None:
    plan = LoadTest(users=1, duration=10, timeout=5)
    assert runner._deadline(plan, RunStatus(), start_deadline=60) == 60
    assert runner._deadline(plan, RunStatus(measure_start=100), start_deadline=60) == 100 + 10 + 2 * 5 + 60


@pytest.mark.parametrize(
    ("status", "pool", "expected"),
    [
        (RunStatus(), None, ["did not start the load in time", "locust.log"]),
        (RunStatus(ready_workers=2), WorkerPool(2), ["did not start the load in time", "locust.log"]),
        (
            RunStatus(ready_workers=1),
            WorkerPool(2),
            ["expected 2 workers", "1 connected", "--master-port 5557"],
        ),
        (RunStatus(measure_start=1), None, ["did not end in time", "locust.log"]),
        (RunStatus(measure_start=1, ready_workers=2), WorkerPool(2), ["did not end in time", "locust.log"]),
    ],
)
def test_timeout_message_names_the_phase_and_the_way_out(
    status: RunStatus, pool: WorkerPool | None, expected: list[str]
) -> None:
    message = runner._timeout_message(status, pool, Path("locust.log"))
    for text in expected:
        assert text in message

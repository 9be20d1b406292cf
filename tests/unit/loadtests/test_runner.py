# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Short campaigns of one generator against a server on the loopback interface."""

import functools
import json
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.campaigns import make_load_campaign
from tests.support.ports import free_port
from tests.support.stub_grpc_server import run_stub_grpc_server
from tests.support.stub_server import make_contract, run_stub_server
from tidegate.errors import ConfigurationError, ServerError, TidegateError
from tidegate.protocol.connect import retry_connect
from tidegate_loadtests import locust_process, readiness, runner
from tidegate_loadtests.locust_process import LocustOutputs
from tidegate_loadtests.run_files import RunStatus
from tidegate_loadtests.runner import Progress
from tidegate_loadtests.samples import Samples, read_samples
from tidegate_loadtests.timeline.records import Timeline
from tidegate_loadtests.worker_pool import WorkerPool

USERS = {"model": "closed", "users": 1}


def ignore(progress: Progress) -> None:
    pass


def read_all(path: Path) -> Samples:
    (samples,) = read_samples(path)
    return samples


def test_run_of_several_phases_follows_their_loads(tmp_path: Path) -> None:
    campaign = make_load_campaign(
        {"model": "closed", "users": 2},
        {"model": "constant", "rate": 40},
        {"model": "closed", "users": 1},
        duration=1,
        timeout=20,
        connections=4,
    )
    progress: list[Progress] = []
    with run_stub_server() as stub:
        run = runner.run(campaign.with_addresses(stub.url, None), make_contract(), tmp_path, progress.append)
    samples = read_all(run.samples_path)
    assert len(samples) == stub.requests.total() > 60
    assert samples.successful.all()
    phase = samples.intended_start.astype(int)
    assert (np.bincount(phase) > 0).tolist() == [True, True, True]
    assert np.allclose(np.sort(samples.intended_start[phase == 1]), 1 + np.arange(40) / 40)
    # One user of a closed loop sends after the previous response; the samples are in this order.
    alone = samples.select(phase == 2)
    order = np.argsort(alone.intended_start)
    assert (alone.intended_start[order][1:] >= alone.completed[order][:-1]).all()
    assert progress[-1].live.requests == len(samples)
    assert run.generators[0].utilization_mean > 0
    assert run.started_at > 0


def test_run_over_grpc_has_a_connection_per_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret-value")
    campaign = make_load_campaign(
        {"model": "closed", "users": 3},
        duration=1,
        timeout=20,
        protocols={"grpc": 1},
        target={"headers": {"Host": "a.example", "Authorization": "Bearer ${TOKEN}"}},
    )
    with run_stub_grpc_server(fail_every=10) as stub:
        run = runner.run(
            campaign.with_addresses(None, stub.address),
            make_contract(),
            tmp_path,
            ignore,
            outputs=LocustOutputs(html=tmp_path / "locust.html", csv_prefix=tmp_path / "locust"),
        )
    samples = read_all(run.samples_path)
    assert len(samples) == stub.calls["ModelInfer"] > 20
    failed = samples.select(~samples.successful)
    assert len(failed) == len(samples) // 10
    assert set(failed.error) == {"RESOURCE_EXHAUSTED: overloaded"}
    assert set(failed.status) == {429}
    assert set(samples.status[samples.successful]) == {200}
    assert len(stub.peers) == 3
    assert ("authorization", "Bearer secret-value") in stub.metadata
    files = {path.name for path in tmp_path.iterdir()}
    assert {"samples.parquet", "locust.log", "locust.html", "locust_stats.csv"} <= files
    for path in tmp_path.iterdir():
        assert b"secret-value" not in path.read_bytes(), path


def test_run_shows_locusts_page_and_ends_by_itself(tmp_path: Path) -> None:
    campaign = make_load_campaign({"model": "constant", "rate": 20}, duration=5, timeout=20)
    port = free_port()
    pages: list[dict[str, Any]] = []

    def read_page(progress: Progress) -> None:
        if progress.elapsed_seconds is not None and progress.live.requests and not pages:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=20) as response:
                pages.append(json.load(response))

    with run_stub_server() as stub:
        run = runner.run(
            campaign.with_addresses(stub.url, None),
            make_contract(),
            tmp_path,
            read_page,
            outputs=LocustOutputs(web_port=port),
        )
    assert len(read_all(run.samples_path)) == 100
    (page,) = pages
    assert page["user_count"] == campaign.connections
    assert page["stats"][0]["name"] == "v1"
    assert page["stats"][0]["num_requests"] > 0


def test_run_stopped_on_locusts_page_is_inconclusive(tmp_path: Path) -> None:
    campaign = make_load_campaign({"model": "constant", "rate": 20}, duration=60, timeout=20)
    port = free_port()

    stopped: list[bool] = []

    def stop(progress: Progress) -> None:
        if progress.live.requests and not stopped:
            stopped.append(True)
            urllib.request.urlopen(f"http://127.0.0.1:{port}/stop", data=b"", timeout=60).close()

    with (
        run_stub_server() as stub,
        pytest.raises(TidegateError, match="inconclusive: the campaign was stopped on Locust's page"),
    ):
        runner.run(
            campaign.with_addresses(stub.url, None),
            make_contract(),
            tmp_path,
            stop,
            outputs=LocustOutputs(web_port=port),
        )
    assert not (tmp_path / "samples.parquet").exists()


class FakeRecorder:
    """A recorder that has always seen two ready replicas."""

    ready_replicas = 2

    def timeline(self, started_at: float) -> Timeline:
        return Timeline(started_at=started_at)


def test_run_records_the_timeline_around_the_load(tmp_path: Path) -> None:
    recording: list[bool] = []
    progress: list[Progress] = []

    @contextmanager
    def record() -> Iterator[FakeRecorder]:
        recording.append(True)
        yield FakeRecorder()
        recording.append(False)

    campaign = make_load_campaign({"model": "constant", "rate": 20}, duration=1, timeout=20)
    with run_stub_server() as stub:
        run = runner.run(
            campaign.with_addresses(stub.url, None),
            make_contract(),
            tmp_path,
            progress.append,
            recorder=record(),
        )
    assert recording == [True, False]
    assert run.timeline == Timeline(started_at=run.started_at)
    assert {one.replicas for one in progress} == {2}


def test_run_without_responses_ends_after_the_timeouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = make_load_campaign({"model": "poisson", "rate": 20}, duration=1, connections=2, timeout=0.3)
    monkeypatch.setattr(runner, "verify_readiness", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        campaign = campaign.with_addresses(f"http://127.0.0.1:{silent.getsockname()[1]}", None)
        run = runner.run(campaign, make_contract(), tmp_path, ignore)
    samples = read_all(run.samples_path)
    assert len(samples) == campaign.planned_requests
    assert set(samples.error) == {
        "no response within 0.3 s of the intended start",
        "not sent within 0.3 s of the intended start",
    }


def test_run_without_a_header_variable_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    campaign = make_load_campaign(
        USERS, target={"url": "http://a.example", "headers": {"X-Token": "${TOKEN}"}}
    )
    with pytest.raises(ConfigurationError, match=r"'target.headers.X-Token'.* 'TOKEN' is not set"):
        runner.run(campaign, make_contract(), tmp_path, ignore)
    assert list(tmp_path.iterdir()) == []


def test_run_without_a_server_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = functools.partial(retry_connect, pauses=(0.0, 0.0))
    monkeypatch.setattr(readiness, "retry_connect", lambda call, retryable, **_: at_once(call, retryable))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ServerError, match=r"stub/ready did not respond .*: start the server"):
        runner.run(make_load_campaign(USERS, target={"url": url}), make_contract(), tmp_path, ignore)
    assert list(tmp_path.iterdir()) == []


def test_run_with_a_failed_generator_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [sys.executable, "-c", "import sys; print('out of order'); sys.exit(1)"]
    monkeypatch.setattr(locust_process, "_LOCUST", broken)
    with (
        run_stub_server() as stub,
        pytest.raises(TidegateError, match=r"generator failed with exit code 1: .* log .*locust\.log"),
    ):
        runner.run(make_load_campaign(USERS, target={"url": stub.url}), make_contract(), tmp_path, ignore)
    assert (tmp_path / "locust.log").read_text() == "out of order\n"


def test_deadline_is_for_the_start_and_then_for_the_end() -> None:
    campaign = make_load_campaign(USERS, timeout=5)
    assert runner._deadline(campaign, RunStatus(), start_deadline=60) == 60
    assert runner._deadline(campaign, RunStatus(start_time=100), start_deadline=60) == 100 + 10 + 2 * 5 + 60


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
        (RunStatus(start_time=1), None, ["did not end in time", "locust.log"]),
        (RunStatus(start_time=1, ready_workers=2), WorkerPool(2), ["did not end in time", "locust.log"]),
    ],
)
def test_timeout_message_names_the_phase_and_the_way_out(
    status: RunStatus, pool: WorkerPool | None, expected: list[str]
) -> None:
    message = runner._timeout_message(status, pool, Path("locust.log"))
    for text in expected:
        assert text in message

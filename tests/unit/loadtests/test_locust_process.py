# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Campaigns of a master and workers, each a process of its own, on the loopback interface."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.campaigns import make_load_campaign
from tests.support.ports import free_port
from tests.support.stub_server import make_contract, run_stub_server, write_bundle
from tests.unit.loadtests.test_cli import write_campaign
from tidegate.console import OutputFormat
from tidegate.errors import ConfigurationError, ExitCode, TidegateError
from tidegate_loadtests import runner
from tidegate_loadtests.cli import run as run_command
from tidegate_loadtests.locust_process import LocustOutputs
from tidegate_loadtests.runner import Progress
from tidegate_loadtests.samples import read_samples
from tidegate_loadtests.worker_pool import WorkerPool

EXIT_TIMEOUT_SECONDS = 20
STALL_SECONDS = 5.6
"""Stall of a worker that is longer than Locust's default limit of heartbeats, five seconds."""

# The campaigns wait for heartbeats more than they compute, so they run at the same time.
pytestmark = pytest.mark.xdist_group("campaigns")


def test_page_on_a_used_port_is_rejected_before_the_load() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"--web-port: {port} cannot be opened .*: choose"):
            LocustOutputs(web_port=port).verify()
    LocustOutputs(web_port=port).verify()
    LocustOutputs().verify()


@contextmanager
def start_workers(port: int, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start workers that connect to this port, and end them when the block ends."""
    command = [sys.executable, "-c", "from tidegate_loadtests.cli import app; app()"]
    command += ["worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


class Incidents(NamedTuple):
    """Running campaigns, each with an incident of one of its two workers."""

    killed_worker: Future[None]
    stalled_worker: Future[None]


@pytest.fixture(scope="module")
def incidents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Incidents]:
    with ThreadPoolExecutor() as executor:
        yield Incidents(
            executor.submit(require_inconclusive_with_a_killed_worker, tmp_path_factory.mktemp("killed")),
            executor.submit(require_complete_with_a_stalled_worker, tmp_path_factory.mktemp("stalled")),
        )


def require_inconclusive_with_a_killed_worker(folder: Path) -> None:
    port = free_port()
    campaign = make_load_campaign({"model": "poisson", "rate": 20}, duration=60, connections=2)
    pool = WorkerPool(2, "127.0.0.1", port)
    with run_stub_server() as stub, start_workers(port, 2) as processes:

        def kill_after_first_request(progress: Progress) -> None:
            if progress.live.requests:
                processes[0].kill()

        with pytest.raises(TidegateError, match=r"is inconclusive: worker \d on .* was lost") as error:
            runner.run(
                campaign.with_addresses(stub.url, None),
                make_contract(),
                folder,
                kill_after_first_request,
                pool,
            )
        assert error.value.exit_code is ExitCode.CRASH
        # The master ended the other worker before its last request.
        assert processes[1].wait(EXIT_TIMEOUT_SECONDS) == 1


def require_complete_with_a_stalled_worker(folder: Path) -> None:
    port = free_port()
    campaign = make_load_campaign({"model": "poisson", "rate": 10}, connections=2, timeout=20)
    pool = WorkerPool(2, "127.0.0.1", port)
    with run_stub_server() as stub, start_workers(port, 2) as processes:
        # Not by the requests' progress: on a busy machine the campaign may end before enough of them.
        resume = threading.Timer(STALL_SECONDS, processes[0].send_signal, [signal.SIGCONT])

        def stall_after_first_request(progress: Progress) -> None:
            if progress.live.requests and resume.ident is None:
                processes[0].send_signal(signal.SIGSTOP)
                resume.start()

        run = runner.run(
            campaign.with_addresses(stub.url, None),
            make_contract(),
            folder,
            stall_after_first_request,
            pool,
        )
        assert [process.wait(EXIT_TIMEOUT_SECONDS) for process in processes] == [0, 0]
    assert sum(map(len, read_samples(run.samples_path))) == campaign.planned_requests


@pytest.mark.usefixtures("incidents")
def test_workers_together_send_the_planned_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, bundle, port = tmp_path / "out", tmp_path / "bundle", free_port()
    write_bundle(bundle)
    with run_stub_server() as stub, start_workers(port, 2) as processes:
        with pytest.MonkeyPatch.context() as patch:
            # The load of the machine that runs the tests is not under test.
            patch.setattr("tidegate_loadtests.generator_cpu.Generator.saturated", False)
            run_command(
                write_campaign(tmp_path),
                str(bundle),
                stub.url,
                out=out,
                output=OutputFormat.JSON,
                expect_workers=2,
                master_bind_host="127.0.0.1",
                master_bind_port=port,
                push=str(tmp_path / "store"),
            )
        assert [process.wait(EXIT_TIMEOUT_SECONDS) for process in processes] == [0, 0]
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "pass"
    assert (document["requests"], document["failures"]) == (200, 0)
    assert stub.requests.total() == 300  # with the warm-up
    assert sum(map(len, read_samples(out / "samples.parquet"))) == 300
    names = [worker["worker"] for worker in document["workers"]]
    assert [name.partition(" on ")[0] for name in names] == ["worker 0", "worker 1"]
    assert all(worker["utilization_mean"] > 0 for worker in document["workers"])
    assert all(worker["start_skew_ms"] > 0 for worker in document["workers"])
    stored = {path.name: path for path in (tmp_path / "store" / "stub").glob("*/*")}
    assert stored.keys() == {"report.html", "verdict.json", "campaign.png", "samples.parquet"}
    assert document["report"] == stored["report.html"].as_uri()
    assert stored["samples.parquet"].read_bytes() == (out / "samples.parquet").read_bytes()


def test_campaign_with_a_killed_worker_is_inconclusive(incidents: Incidents) -> None:
    incidents.killed_worker.result()


def test_campaign_with_a_stalled_worker_is_complete(incidents: Incidents) -> None:
    incidents.stalled_worker.result()


def test_campaign_without_its_workers_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_WORKERS_TIMEOUT_SECONDS", 0.6)
    port = free_port()
    pool = WorkerPool(3, "127.0.0.1", port)
    campaign = make_load_campaign({"model": "closed", "users": 3})
    with run_stub_server() as stub, pytest.raises(TidegateError) as error:
        runner.run(campaign.with_addresses(stub.url, None), make_contract(), tmp_path, lambda _: None, pool)
    expected = ("inconclusive: expected 3 workers within 0.6 s, 0 connected; start", f"--master-port {port}")
    for text in expected:
        assert text in str(error.value)

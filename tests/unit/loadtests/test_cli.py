# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Short campaigns of the command line against a stub server on the loopback interface."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.support.api_server import run_api_server
from tests.support.capacities import FIELDS
from tests.support.stub_server import Fault, run_stub_server, write_bundle
from tidegate.bundle import open_bundle
from tidegate.console import OutputFormat
from tidegate.errors import ConfigurationError, ExitCode, TidegateError
from tidegate_loadtests import generator_cpu
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.cli import _describe, app, run
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.live_metrics import LiveMetrics
from tidegate_loadtests.runner import Progress
from tidegate_loadtests.samples import read_samples
from tidegate_loadtests.timeline import recorder
from tidegate_loadtests.timeline.records import Timeline
from tidegate_loadtests.worker_pool import MASTER_PORT

CAMPAIGN = """\
connections: 8
timeout: 20
protocols: {v1: 1, v2: 1, v2-binary: 1}
rows_per_request: 2
phases:
  - {name: warm-up, duration: 0.5, judged: false, load: {model: poisson, rate: 200}}
  - {name: load, duration: 1, load: {model: poisson, rate: 200}, thresholds: {max_p95_ms: 20000}}
"""


@pytest.fixture
def idle_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that always had its CPU, however busy this machine is."""
    generator = Generator(None, 0.1, 0.1, 0.0, 0.0)
    monkeypatch.setattr(generator_cpu, "measure_generator", lambda *_: generator)


def write_campaign(folder: Path, text: str = CAMPAIGN) -> Path:
    file = folder / "campaign.yaml"
    file.write_text(text)
    return file


@pytest.mark.usefixtures("idle_generator")
def test_run_sends_the_planned_requests_and_reports_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, bundle = tmp_path / "out", tmp_path / "bundle"
    write_bundle(bundle, "bundled")
    with run_stub_server() as stub:
        run(write_campaign(tmp_path), str(bundle), stub.url, name="stub", out=out, output=OutputFormat.JSON)
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "pass"
    assert (document["requests"], document["failures"]) == (200, 0)
    assert stub.requests.total() == 300  # with the warm-up
    assert stub.rows.total() == 600
    assert (
        Counter(
            protocol
            for samples in read_samples(out / "samples.parquet")
            for protocol in samples.protocol.tolist()
        )
        == stub.requests
    )
    assert all(count > 40 for count in stub.requests.values())
    assert document["report"] == str(out / "report.html")
    assert "</html>" in (out / "report.html").read_text()
    assert (out / "campaign.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((out / "verdict.json").read_text())
    assert written | {"report": document["report"]} == document


@pytest.mark.usefixtures("idle_generator")
def test_run_with_watch_writes_and_judges_the_timeline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, bundle = tmp_path / "out", tmp_path / "bundle"
    write_bundle(bundle)
    watch = "target: {watch: {namespace: models, deployment: front}}\nscaling: {max_replicas: 1}\n"
    deployment = {"spec": {"replicas": 2}, "status": {"replicas": 2, "readyReplicas": 2}}
    with run_stub_server() as stub, run_api_server() as cluster:
        cluster.put("deployments", deployment | {"metadata": {"name": "front"}})
        monkeypatch.setattr(recorder, "load_api_client", cluster.client)
        with pytest.raises(TidegateError, match=r"load test failed: .*replicas"):
            run(write_campaign(tmp_path, watch + CAMPAIGN), str(bundle), stub.url, out=out)
    timeline = Timeline.read(out / "timeline.parquet")
    assert [(record.desired, record.ready) for record in timeline.replicas] == [(2, 2)]
    assert timeline.replicas[0].time <= 0
    assert timeline.gaps == []
    assert json.loads((out / "verdict.json").read_text())["timeline"]["ready_replicas"]["most"] == 2


@pytest.mark.usefixtures("idle_generator")
def test_run_with_failed_requests_exits_with_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault(number: int) -> Fault | None:
        faults: dict[int, Fault] = {150: "status", 160: "status", 170: "bytes", 180: "cut"}
        return faults.get(number, "label" if number >= 200 else None)

    out, bundle = tmp_path / "out", tmp_path / "bundle"
    write_bundle(bundle)
    with (
        run_stub_server(fault) as stub,
        pytest.raises(
            TidegateError, match=r"load test failed: .*failure ratio .*: expected at most 0"
        ) as error,
    ):
        run(write_campaign(tmp_path), str(bundle), stub.url, out=out)
    assert error.value.exit_code is ExitCode.GATE_NOT_PASSED
    printed = capsys.readouterr().out
    for text in ("fail", "failure ratio", "p95 latency", "at most", "pass", str(out / "report.html")):
        assert text in printed
    errors = json.loads((out / "verdict.json").read_text())["errors"]
    counts = {entry["error"]: entry["count"] for entry in errors}
    assert counts.pop('status 500: {"error": "out of order"}') == 2
    assert counts.pop("status 503: \ufffd\ufffd") == 1
    (cut,) = [error for error in counts if error.startswith("no response")]
    assert counts.pop(cut) == 1
    # One request in eight is a golden request.
    assert 1 <= counts.pop("wrong response: output 'label' differs from the golden outputs") <= 20
    assert not counts


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["worker"], ["--master-host"]),
        (["worker", "--master-host", "a", "--master-port", "0"], ["--master-port", "equal to 1"]),
        (["worker", "--master-host", "a", "--master-port", "65536"], ["--master-port", "equal to 65535"]),
        (["worker", "--master-host", "a", "--master-port", "x"], ["--master-port", "integer"]),
        (
            ["run", "x.yaml", "--url", "http://a", "--bundle", "b", "--expect-workers", "0"],
            ["--expect-workers", "equal to 1"],
        ),
        (
            ["run", "x.yaml", "--url", "http://a", "--bundle", "b", "--master-bind-port", "0"],
            ["--master-bind-port", "equal to 1"],
        ),
        (
            ["run", "x.yaml", "--url", "http://a", "--bundle", "b", "--web-port", "0"],
            ["--web-port", "equal to 1"],
        ),
    ],
)
def test_option_out_of_range_is_rejected(arguments: list[str], expected: list[str]) -> None:
    result = CliRunner().invoke(app, arguments, env={"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200"})
    assert result.exit_code == 2
    for text in expected:
        assert text in result.output


@pytest.mark.parametrize(
    ("arguments", "text", "expected"),
    [
        ([], CAMPAIGN, "The campaign has no address: give --url or 'target.url'."),
        (["--url", "a:1"], CAMPAIGN, "--url: 'a:1' is not an address of a server: expected http://"),
        (["--grpc-url", "http://a"], CAMPAIGN, "--grpc-url: 'http://a' is not an address of a server"),
        (["--url", "http://a"], CAMPAIGN.replace("v2: 1", "grpc: 1"), "no address for gRPC: give --grpc-url"),
    ],
)
def test_run_without_an_address_is_rejected(
    tmp_path: Path, arguments: list[str], text: str, expected: str
) -> None:
    result = CliRunner().invoke(
        app, ["run", str(write_campaign(tmp_path, text)), "--bundle", "b", *arguments]
    )
    assert isinstance(result.exception, ConfigurationError)
    assert expected in str(result.exception)


def test_run_names_the_line_of_a_header_without_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    bundle = tmp_path / "bundle"
    write_bundle(bundle)
    campaign = write_campaign(tmp_path, CAMPAIGN + 'target:\n  headers: {X-Token: "${TOKEN}"}\n')
    with pytest.raises(ConfigurationError, match=r"campaign.yaml:9: field 'target.headers.X-Token': .*TOKEN"):
        run(campaign, str(bundle), "http://a.example", out=tmp_path / "out")


def test_run_with_a_file_as_out_is_rejected(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    write_bundle(bundle)
    campaign = write_campaign(tmp_path)
    with pytest.raises(ConfigurationError, match=r"--out: .*campaign.yaml' cannot be written .*: choose"):
        run(campaign, str(bundle), "http://a.example", out=campaign)


def test_schema_is_printed_as_json() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert json.loads(result.output) == Campaign.model_json_schema()


@pytest.mark.parametrize(
    ("progress", "workers", "expected"),
    [
        (Progress(None, LiveMetrics(), 0), None, "Starting the load generator"),
        (Progress(None, LiveMetrics(), 1), 3, "Waiting for workers: 1 of 3 are ready"),
        (Progress(0.2, LiveMetrics(), 0), None, "Phase warm-up: 0 /s of 200 /s, 0 failures"),
        (
            Progress(0.7, LiveMetrics(1500, 2, 198.4, 12.34), 0, replicas=3),
            None,
            "Phase load: 198 /s of 200 /s, p99 12.3 ms, 2 failures, 3 ready replicas",
        ),
        (
            Progress(1.5, LiveMetrics(1500, 2, 0, None), 0),
            None,
            "Waiting for the last responses: 1,500 requests",
        ),
    ],
)
def test_progress_is_described_by_phase(progress: Progress, workers: int | None, expected: str) -> None:
    campaign = Campaign.model_validate(yaml.safe_load(CAMPAIGN))
    assert _describe(progress, campaign, workers) == expected


def test_worker_with_a_url_as_host_is_rejected() -> None:
    result = CliRunner().invoke(app, ["worker", "--master-host", "http://a:1"])
    assert isinstance(result.exception, ConfigurationError)
    assert "--master-host: 'http://a:1'" in str(result.exception)


def test_master_port_defaults_to_locusts() -> None:
    result = CliRunner().invoke(app, ["worker", "--help"], env={"COLUMNS": "200"})
    assert str(MASTER_PORT) in result.output


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "the capacity for the bundle "),
        ({"digest": None}, "the protocol v1, expected v1 and v2 and v2-binary"),
    ],
)
def test_run_capacity_of_other_requests_is_rejected(
    fields: dict[str, object], message: str, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "bundle", "bundled")
    digest = open_bundle(tmp_path / "bundle").digest
    document = FIELDS | fields | ({"digest": digest} if "digest" in fields else {})
    (tmp_path / "capacity.yaml").write_text(yaml.safe_dump(document))
    watch = "target: {watch: {namespace: default, deployment: stub}}\n"
    scaling = "scaling: {max_replica_seconds_ratio: 2, sizes: capacity.yaml}\n"
    campaign = write_campaign(tmp_path, watch + CAMPAIGN + scaling)
    with pytest.raises(ConfigurationError, match=f"campaign.yaml:9: field 'scaling.sizes': .*{message}"):
        run(campaign, str(tmp_path / "bundle"), "http://127.0.0.1:1", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()

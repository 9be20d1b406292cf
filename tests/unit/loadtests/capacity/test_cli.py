# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.support.capacities import FIELDS
from tests.support.stub_server import write_bundle
from tests.unit.loadtests.capacity.test_measurement import SimulatedReplica
from tidegate.bundle import Bundle
from tidegate.console import OutputFormat
from tidegate.errors import ConfigurationError, ExitCode, TidegateError
from tidegate.protocol.constants import Protocol
from tidegate.store import fetch
from tidegate_loadtests.capacity import generator, replica
from tidegate_loadtests.capacity.cli import capacity
from tidegate_loadtests.capacity.document import Capacity
from tidegate_loadtests.capacity.record import MeasurementRecord
from tidegate_loadtests.capacity.replica import RunningServer
from tidegate_loadtests.capacity.server_metrics import ServerMetrics


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    write_bundle(tmp_path / "bundle")
    return fetch(str(tmp_path / "bundle"), tmp_path)


def call(bundle: Bundle, out: Path, **options: Any) -> None:
    capacity(
        **{
            "bundle": str(bundle.path),
            "threshold_p99_ms": 20.0,
            "peak": 2000.0,
            "growth": None,
            "largest_step": 700.0,
            "protocol": Protocol.V1,
            "max_failure_ratio": 0.0,
            "rows_per_request": 1,
            "engine": None,
            "cpus": 1.0,
            "url": "http://127.0.0.1:1",
            "startup_seconds": 4.0,
            "name": None,
            "header": None,
            "seed": 0,
            "out": out,
            "output": OutputFormat.JSON,
        }
        | options
    )


def simulate(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, digest: str, generator_rate: float = np.inf
) -> None:
    """Replace the server and the load generator by a simulated replica."""
    metrics = ServerMetrics(digest, "onnx", 0, 0, 0, 0, 0, 0)

    class Replica(SimulatedReplica):
        max_memory_bytes = 200_000_000

        def __init__(self, *_: Any) -> None:
            super().__init__(generator_rate)

        def scrape(self) -> ServerMetrics:
            return metrics

    @contextmanager
    def start(*_: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(replica, "LiveReplica", Replica)
    monkeypatch.setattr(generator, "start_generator", start)


def test_capacity_writes_its_files_and_prints_them(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(monkeypatch, bundle, bundle.digest)
    call(bundle, tmp_path / "out")
    printed = json.loads(capsys.readouterr().out)
    document = Capacity.read(tmp_path / "out" / "capacity.yaml")
    assert printed["safe_rate"] == document.safe_rate
    assert (document.digest, document.engine, document.hardware) == (bundle.digest, "onnx", None)
    assert (document.startup_seconds, document.memory_bytes) == (4.0, 200_000_000)
    values = yaml.safe_load((tmp_path / "out" / "values.capacity.yaml").read_text())
    assert values["capacity"]["digest"] == bundle.digest
    assert values["autoscaling"]["minReplicas"] == 2
    assert (tmp_path / "out" / "capacity.png").read_bytes().startswith(b"\x89PNG")
    record = MeasurementRecord.model_validate_json((tmp_path / "out" / "measurement.json").read_text())
    assert (record.inconclusive_reason, record.capacity_rate) == (None, document.capacity_rate)
    stages = [window.stage for window in record.windows]
    assert sorted(set(stages), key=stages.index) == ["Bracket", "Bisect", "Confirm", "Measure"]
    assert [window.rate for window in record.windows][-1] == pytest.approx(document.safe_rate)


def test_capacity_as_text_names_the_signal(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(monkeypatch, bundle, bundle.digest)
    call(bundle, tmp_path / "out", output=OutputFormat.TEXT)
    text = capsys.readouterr().out
    assert "posterior interval" in text
    assert "CPU is a" in text


def test_inconclusive_capacity_leaves_only_the_record(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch, bundle, bundle.digest, generator_rate=1.0)
    out = tmp_path / "out"
    out.mkdir()
    (out / "capacity.yaml").write_text("old")
    with pytest.raises(TidegateError, match="inconclusive: the load generator used 100%") as error:
        call(bundle, out)
    assert error.value.exit_code == ExitCode.CRASH
    assert f"{out / 'measurement.json'} has every window" in str(error.value)
    assert [path.name for path in out.iterdir()] == ["measurement.json"]
    record = MeasurementRecord.model_validate_json((out / "measurement.json").read_text())
    assert (record.digest, record.capacity_rate) == (bundle.digest, None)
    assert record.inconclusive_reason is not None
    assert record.inconclusive_reason in str(error.value)
    assert {window.outcome for window in record.windows} == {"discarded"}
    assert record.windows[0].discard_reason == "the load generator used 100% of its CPU"


def test_capacity_of_another_bundle_is_rejected(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch, bundle, FIELDS["digest"])
    with pytest.raises(
        ConfigurationError, match=f"serves the bundle {FIELDS['digest']}, expected {bundle.digest}"
    ):
        call(bundle, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": Protocol.GRPC}, "--protocol: expected v1, v2 or v2-binary, received grpc"),
        ({"startup_seconds": None}, "--url: expected --startup-seconds"),
        ({"engine": "onnx"}, "and no --engine"),
        ({"url": None, "startup_seconds": None, "cpus": 0.3}, "--cpus is 0.3: .* whole CPUs"),
        ({"url": None}, "and no --startup-seconds"),
        ({"header": ["X"]}, "--header: 'X' is not a header: expected 'Name: value'"),
        ({"header": ["X: ${TIDEGATE_NO_SUCH_VARIABLE}"]}, "TIDEGATE_NO_SUCH_VARIABLE"),
        ({"largest_step": 3000.0}, "--largest-step is 3000 and --peak is 2000"),
    ],
)
def test_contradicting_options_are_rejected_before_the_load(
    tmp_path: Path, bundle: Bundle, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call(bundle, tmp_path / "out", **options)


def test_local_server_receives_the_options(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []

    @contextmanager
    def start(*arguments: Any) -> Iterator[RunningServer]:
        calls.append(arguments)
        yield RunningServer("http://127.0.0.1:1", 9.0, 1)

    simulate(monkeypatch, bundle, bundle.digest)
    monkeypatch.setattr(replica, "start_server", start)
    out = tmp_path / "out"
    options = {"engine": "sklearn", "name": "other", "cpus": 2.0}
    call(bundle, out, url=None, startup_seconds=None, threshold_p99_ms=400.0, **options)
    arguments = ["--name", "other", "--engine", "sklearn", "--max-queue-delay", "4"]  # as in the values
    assert calls == [(bundle.path, arguments, 2, out / "server.log")]
    assert "maxQueueDelaySeconds: 4.0" in (out / "values.capacity.yaml").read_text()
    document = Capacity.read(out / "capacity.yaml")
    assert document.model == "other"
    assert document.hardware is not None
    assert document.hardware.memory_bytes > 0

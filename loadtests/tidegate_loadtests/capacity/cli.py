# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``tidegate loadtest capacity``: measure one replica, and size the autoscaler for a traffic."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.console import OutputFormat, OutputOption, print_result, progress
from tidegate.errors import ConfigurationError, TidegateError
from tidegate.formatting import format_milliseconds, format_number
from tidegate.protocol.constants import Protocol
from tidegate_loadtests.capacity.traffic import DEFAULT_GROWTH_SECONDS, Autoscaler, Traffic

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate.bundle import Bundle
    from tidegate_loadtests.capacity.chart_values import Sizing
    from tidegate_loadtests.capacity.document import Capacity
    from tidegate_loadtests.capacity.measurement import Measurement, Progress
    from tidegate_loadtests.capacity.replica import Endpoint, RunningServer
    from tidegate_loadtests.capacity.search import Criterion

CAPACITY = "capacity.yaml"
VALUES = "values.capacity.yaml"
PLOT = "capacity.png"
MEASUREMENT = "measurement.json"

_PERCENTILE = 99.0
_KEEP_EVERY = 8


def capacity(
    bundle: Annotated[str, typer.Option(help="The served bundle: a reference or a directory.")],
    threshold_p99_ms: Annotated[
        float,
        typer.Option(min=0.001, help="Largest accepted 99th percentile of the latency, in milliseconds."),
    ],
    peak: Annotated[
        float, typer.Option(min=0.001, help="Peak of the expected traffic, in requests per second.")
    ],
    growth: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Steepest growth of the traffic, in requests per second per second. Default: from zero to "
            "the peak in five minutes.",
        ),
    ] = None,
    largest_step: Annotated[
        float, typer.Option(min=0, help="Largest instantaneous rise of the traffic, in requests per second.")
    ] = 0.0,
    autoscaler: Annotated[
        Autoscaler,
        typer.Option(help="hpa scales by CPU. keda scales by requests in flight, and needs KEDA."),
    ] = Autoscaler.HPA,
    max_failure_ratio: Annotated[
        float, typer.Option(min=0, max=0.5, help="Largest accepted ratio of failed requests.")
    ] = 0.0,
    protocol: Annotated[
        Protocol, typer.Option(help="The protocol of the requests; HTTP only.")
    ] = Protocol.V1,
    rows_per_request: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of each request.")] = 1,
    engine: Annotated[
        str | None,
        typer.Option(help="Engine of the server that this command starts; as for 'tidegate serve'."),
    ] = None,
    cpus: Annotated[
        float,
        typer.Option(
            min=0.001,
            help="CPUs of the replica: whole CPUs for the server that this command starts, or the pod's "
            "limits.cpu.",
        ),
    ] = 1.0,
    url: Annotated[
        str | None,
        typer.Option(
            help="One pod that serves the bundle. Default: this command starts a server on this machine."
        ),
    ] = None,
    startup_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Seconds from the pod's creation until it was ready. Required with --url."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in requests. Default: the bundle's name.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(help="'Name: value' of each request; ${NAME} is an environment variable. Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the rows and the arrival times.")] = 0,
    out: Annotated[Path, typer.Option(help="Directory for the result files.")] = Path("out/capacity"),
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Measure the highest rate at which one replica keeps its latency, and write values for the chart.

    Writes capacity.yaml, values.capacity.yaml, capacity.png and measurement.json. Exits with 1 and writes
    only measurement.json if the measurement is inconclusive, for example because the load generator or the
    machine was the bottleneck.
    """
    from tidegate.store import fetch
    from tidegate_loadtests.capacity.chart_values import chart_values, max_queue_delay_seconds, size
    from tidegate_loadtests.capacity.plot import plot_capacity
    from tidegate_loadtests.capacity.replica import Endpoint
    from tidegate_loadtests.capacity.search import Criterion
    from tidegate_loadtests.headers import resolve_headers

    if protocol is Protocol.GRPC:
        raise ConfigurationError(
            "--protocol: expected v1, v2 or v2-binary, received grpc: choose one of HTTP."
        )
    traffic = Traffic(peak, peak / DEFAULT_GROWTH_SECONDS if growth is None else growth, largest_step)
    criterion = Criterion(_PERCENTILE, threshold_p99_ms / 1e3, max_failure_ratio)
    out.mkdir(parents=True, exist_ok=True)
    for file in (CAPACITY, VALUES, PLOT, MEASUREMENT):  # no file of an earlier measurement remains
        (out / file).unlink(missing_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="tidegate-bundle-") as cache,
        _server(
            *(url, served := fetch(bundle, Path(cache)), cpus, startup_seconds, out),
            options={
                "--name": name,
                "--engine": engine,
                "--max-queue-delay": f"{max_queue_delay_seconds(threshold_p99_ms):g}",
            },
        ) as server,
    ):
        contract = served.contract.model_copy(update={"name": name or served.contract.name})
        headers = resolve_headers(_parse_headers(header or []), os.environ)
        endpoint = Endpoint(server.url, contract, protocol, rows_per_request, headers, seed)
        measurement, document = _measure(
            endpoint, served.digest, criterion, cpus, server, is_local=url is None, out=out
        )
    document.write(out / CAPACITY)
    (out / VALUES).write_text(chart_values(document, traffic, autoscaler), encoding="utf-8")
    plot_capacity(measurement, document, out / PLOT)
    payload = document.model_dump(mode="json") | {
        "windows": len(measurement.windows),
        "discarded_windows": measurement.discarded,
    }
    sizing = size(document, traffic, autoscaler)
    print_result(output, payload, _render(document, sizing, measurement, out))


@contextmanager
def _server(
    url: str | None,
    served: "Bundle",
    cpus: float,
    startup_seconds: float | None,
    out: Path,
    options: Mapping[str, str | None],
) -> Iterator["RunningServer"]:
    """Start a server on this machine, or use the one at the URL.

    Args:
        url: The URL of a running server.
        served: The bundle.
        cpus: The server's CPUs.
        startup_seconds: The start-up time of a running server.
        out: The directory for the log.
        options: The options of a server that is started; None for a default.
    """
    from tidegate_loadtests.capacity.replica import RunningServer, start_server

    if url is not None:
        if startup_seconds is None or options["--engine"] is not None:
            raise ConfigurationError(
                "--url: expected --startup-seconds, and no --engine, because the pod has its engine already: "
                "give the seconds from the pod's creation until its condition Ready."
            )
        yield RunningServer(url, startup_seconds)
        return
    if cpus != int(cpus) or startup_seconds is not None:
        raise ConfigurationError(
            f"--cpus is {cpus:g}: a server on this machine is pinned to whole CPUs, and its start is "
            "measured: give a whole number and no --startup-seconds, or start the server in a container "
            "and give --url."
        )
    arguments = [part for option, value in options.items() if value is not None for part in (option, value)]
    with start_server(served.path, arguments, int(cpus), out / "server.log") as server:
        yield server


def _measure(
    endpoint: "Endpoint",
    digest: str,
    criterion: "Criterion",
    cpus: float,
    server: "RunningServer",
    is_local: bool,
    out: Path,
) -> tuple["Measurement", "Capacity"]:
    """Measure the replica, record every window, and assemble the capacity file.

    Args:
        endpoint: The server and its requests.
        digest: The digest of the bundle that it must serve.
        criterion: The thresholds of every window.
        cpus: The server's CPUs.
        server: The running server.
        is_local: Whether the server runs on this machine.
        out: The directory for the record.

    Raises:
        TidegateError: If the measurement is inconclusive.
    """
    from tidegate_loadtests.capacity.document import Capacity, Limits, Threshold
    from tidegate_loadtests.capacity.fit import fit_service_time
    from tidegate_loadtests.capacity.generator import GeneratorConfig, start_generator
    from tidegate_loadtests.capacity.hardware import read_hardware
    from tidegate_loadtests.capacity.measurement import measure
    from tidegate_loadtests.capacity.record import MeasurementRecord
    from tidegate_loadtests.capacity.replica import LiveReplica

    requests = endpoint.requests()
    config = GeneratorConfig(endpoint.address, endpoint.contents(requests), _KEEP_EVERY, server.generator_cpu)
    with start_generator(config) as generator, progress() as display:
        replica = LiveReplica(endpoint, requests, criterion, generator, server.read_contention)
        metrics = replica.scrape()
        if metrics.digest != digest:
            raise ConfigurationError(
                f"{endpoint.url} serves the bundle {metrics.digest}, expected {digest}: correct --bundle "
                "or --url."
            )
        task = display.add_task("Warm up", total=None)
        measurement = measure(
            replica, criterion, lambda state: display.update(task, description=_describe(state))
        )
    threshold = Threshold(
        percentile=criterion.percentile,
        latency_ms=criterion.latency_seconds * 1e3,
        max_failure_ratio=criterion.max_failure_ratio,
    )
    MeasurementRecord.of(measurement, digest, threshold).write(out / MEASUREMENT)
    safe_rate, capacity_rate = measurement.search.safe_rate, measurement.capacity_rate
    if measurement.inconclusive_reason or safe_rate is None or capacity_rate is None:
        raise TidegateError(
            f"The capacity is inconclusive: {measurement.inconclusive_reason}. {out / MEASUREMENT} has every "
            "window."
        )
    at_rates = tuple(window.rate_measurement for window in measurement.at_rates)
    return measurement, Capacity(
        digest=digest,
        model=endpoint.contract.name,
        engine=metrics.engine,
        hardware=read_hardware() if is_local else None,
        limits=Limits(cpu=cpus),
        protocol=endpoint.protocol,
        rows_per_request=endpoint.rows_per_request,
        threshold=threshold,
        safe_rate=safe_rate,
        capacity_rate=capacity_rate,
        service_time=fit_service_time(measurement.calls(cpus), measurement.probe_seconds),
        in_flight_at_safe_rate=at_rates[-1].in_flight,
        cpu_at_rates=at_rates,
        startup_seconds=server.startup_seconds,
        memory_bytes=replica.max_memory_bytes,
        tidegate_version=version("tidegate"),
        measured_at=datetime.now(UTC).replace(microsecond=0),
    )


def _parse_headers(headers: Sequence[str]) -> dict[str, str]:
    """Parse headers.

    Raises:
        ConfigurationError: If one has no colon.
    """
    parsed = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise ConfigurationError(f"--header: '{header}' is not a header: expected 'Name: value'.")
        parsed[name.strip()] = value.strip()
    return parsed


def _describe(state: "Progress") -> str:
    if not state.windows and not state.rate:
        return state.stage
    return (
        f"{state.stage}: {format_number(state.rate)} requests per second, {state.windows} windows, "
        f"{state.discarded} discarded"
    )


def _render(
    document: "Capacity", sizing: "Sizing", measurement: "Measurement", out: Path
) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    rates = Table("requests per second", "CPUs", "in flight", "p99", "mean batch", box=None, pad_edge=False)
    for one in document.cpu_at_rates:
        rates.add_row(
            format_number(one.rate),
            format_number(one.cpu_seconds_per_second),
            format_number(one.in_flight),
            format_milliseconds(one.latency_p99_ms),
            f"{format_number(one.mean_batch_rows)} rows",
        )
    interval, service = document.capacity_rate, document.service_time
    safe = (
        f"Safe rate {format_number(document.safe_rate)} requests per second: "
        f"p{document.threshold.percentile:g} <= {document.threshold.latency_ms:g} ms on "
        f"{document.limits.cpu:g} CPU. Capacity {format_number(interval.median)} (posterior interval "
        f"{format_number(interval.low)} to {format_number(interval.high)}), from "
        f"{len(measurement.windows)} windows; {measurement.discarded} more were discarded."
    )
    fitted = (
        f"An engine call takes {service.call_seconds * 1e3:.3g} ms + {service.row_seconds * 1e3:.3g} ms per "
        f"row; start {document.startup_seconds:.1f} s; memory {document.memory_bytes / 1e6:.0f} MB."
    )
    signal = (
        "CPU is a usable signal for the autoscaler."
        if sizing.cpu_usable
        else "CPU is a poor signal for the autoscaler; scale by requests in flight, with --autoscaler keda. "
        f"A target of {sizing.cpu_target_percent} % CPU needs about {sizing.cpu_over_provisioning:.1f} times "
        f"the replicas, and shows at most {100 / sizing.cpu_target_percent:.1f} times the target."
    )
    replicas = f"Replicas: {sizing.min_replicas} to {sizing.max_replicas}."
    files = f"Files: {out / CAPACITY}, {out / VALUES}, {out / PLOT}, {out / MEASUREMENT}"
    return Group(safe, rates, fitted, f"{signal} {replicas}", files)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``tidegate loadtest``: run a campaign and report its verdict, or run one worker of a campaign.

Exit code 0 means that the verdict is pass, 3 that it is fail, and 1 that it is inconclusive.
"""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.console import OutputFormat, OutputOption, print_result, progress
from tidegate.errors import ConfigurationError, FieldError, GateNotPassedError, TidegateError
from tidegate.formatting import format_milliseconds, format_number, format_percent
from tidegate_loadtests.capacity import cli as capacity_cli
from tidegate_loadtests.scaling import cli as scaling_cli
from tidegate_loadtests.worker_pool import ALL_INTERFACES, MASTER_PORT, WorkerPool, parse_host

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate_loadtests.campaign import Campaign
    from tidegate_loadtests.report import Report
    from tidegate_loadtests.runner import Progress

WEB_PORT = 8089
"""The default port of Locust's page, which is Locust's."""

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}

app = typer.Typer(no_args_is_help=True, help="Load-test a server, with a verdict.")
app.command("capacity")(capacity_cli.capacity)
app.command("simulate")(scaling_cli.simulate)


@app.command("run")
def run(
    campaign: Annotated[
        Path,
        typer.Argument(help="The campaign: phases with their load and thresholds.", metavar="CAMPAIGN.yaml"),
    ],
    bundle: Annotated[str, typer.Option(help="The served bundle: a reference or a directory.")],
    url: Annotated[
        str | None,
        typer.Option(help="The server's base URL, for example http://localhost:8080. Default: 'target.url'."),
    ] = None,
    grpc_url: Annotated[
        str | None,
        typer.Option(help="The server's address for gRPC. Default: 'target.grpc_url'.", metavar="HOST:PORT"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in requests. Default: the bundle's name.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory for the report, the verdict and the samples.")] = Path(
        "out/loadtest"
    ),
    output: OutputOption = OutputFormat.TEXT,
    web: Annotated[
        bool, typer.Option("--web", help="Show Locust's own page on this machine while the campaign runs.")
    ] = False,
    web_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Locust's page.")] = WEB_PORT,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write Locust's own CSV files, whose names begin with PREFIX.", metavar="PREFIX"),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write Locust's own HTML report.", metavar="FILE")] = None,
    expect_workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of 'tidegate loadtest worker' processes that make the load. Default: this machine "
            "makes the load.",
        ),
    ] = None,
    master_bind_host: Annotated[
        str, typer.Option(help="Interface for workers to connect to; '*' is every interface.")
    ] = ALL_INTERFACES,
    master_bind_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port for workers to connect to.")
    ] = MASTER_PORT,
    push: Annotated[
        str | None,
        typer.Option(
            help="Store the files of the campaign under STORE/MODEL/TIME as well.",
            metavar="STORE",
        ),
    ] = None,
) -> None:
    """Send the load of a campaign, validate the responses, and decide pass, fail or inconclusive.

    Writes report.html, campaign.png, verdict.json, samples.parquet and, if the campaign has 'target.watch',
    timeline.parquet.
    Exits with 3 if a threshold is missed, and with 1 if the load test is inconclusive.
    """
    from tidegate.settings import Document
    from tidegate.store import Store, fetch
    from tidegate_loadtests import runner
    from tidegate_loadtests.campaign import Campaign
    from tidegate_loadtests.locust_process import LocustOutputs
    from tidegate_loadtests.report import PLOT, REPORT, VERDICT, Report
    from tidegate_loadtests.samples import read_samples
    from tidegate_loadtests.summary import summarise
    from tidegate_loadtests.timeline.recorder import record
    from tidegate_loadtests.timeline.records import TIMELINE
    from tidegate_loadtests.verdict import judge

    document = Document.read(campaign)
    planned = document.parse_as(Campaign).with_addresses(url, grpc_url)
    pool = None
    if expect_workers is not None:
        bind_host = parse_host(master_bind_host, "--master-bind-host")
        pool = WorkerPool(expect_workers, bind_host, master_bind_port)
    store = None if push is None else Store(push)
    with tempfile.TemporaryDirectory(prefix="tidegate-bundle-") as cache:
        served = fetch(bundle, Path(cache))
        contract = served.contract.model_copy(update={"name": name or served.contract.name})
    with document.locate_field_errors():
        safe_rate = _read_safe_rate(planned, served.digest)
    try:
        out.mkdir(parents=True, exist_ok=True)
        # The files of an earlier campaign must not stay next to those of this one.
        for file in (REPORT, VERDICT, PLOT, runner.SAMPLES, TIMELINE):
            (out / file).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"--out: '{out}' cannot be written ({error.strerror}): choose another folder."
        ) from None
    with progress() as display:
        task = display.add_task("Starting the load generator", total=planned.duration_seconds)

        def show(state: "Progress") -> None:
            display.update(
                task,
                completed=state.elapsed_seconds or 0.0,
                description=_describe(state, planned, expect_workers),
            )

        with document.locate_field_errors():
            outputs = LocustOutputs(web_port if web else None, csv, html)
            outputs.verify()
            watch = planned.target.watch
            recorder = None if watch is None else record(watch)
            finished = runner.run(planned, contract, out, show, pool, outputs, recorder)
        if finished.timeline is not None:
            finished.timeline.write(out / TIMELINE)
        display.update(task, description="Writing the report")
        summary = summarise(planned, read_samples(finished.samples_path))
        verdict = judge(planned, summary, finished.generators, finished.timeline, safe_rate)
        report = Report(
            model=contract.name,
            digest=served.digest,
            started_at=datetime.fromtimestamp(finished.started_at, UTC).isoformat(timespec="seconds"),
            campaign=planned,
            summary=summary,
            generators=finished.generators,
            verdict=verdict,
            timeline=finished.timeline,
        )
        (out / REPORT).write_text(report.html(), encoding="utf-8")
        (out / PLOT).write_bytes(report.png())
        (out / VERDICT).write_text(json.dumps(report.document, indent=2) + "\n", encoding="utf-8")
    location = str(out / REPORT)
    try:
        if store is not None:
            folder = f"{contract.name}/{datetime.fromtimestamp(finished.started_at, UTC):%Y%m%dT%H%M%SZ}"
            for file in (REPORT, VERDICT, PLOT, runner.SAMPLES, TIMELINE):
                if (out / file).exists():  # only a campaign with 'target.watch' has a timeline
                    store.put(f"{folder}/{file}", out / file)
            location = f"{store.uri}/{folder}/{REPORT}"
    finally:  # the verdict is printed even if the store fails
        print_result(output, report.document | {"report": location}, _render(report, location))
    if verdict.outcome == "fail":
        raise GateNotPassedError(f"The load test failed: {'; '.join(verdict.reasons)}.")
    if verdict.outcome == "inconclusive":
        raise TidegateError(f"The load test is inconclusive: {'; '.join(verdict.reasons)}.")


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of campaigns, by which editors check and complete them."""
    from tidegate_loadtests.campaign import Campaign

    typer.echo(json.dumps(Campaign.model_json_schema(), indent=2, ensure_ascii=False))


@app.command("worker")
def worker(
    master_host: Annotated[
        str, typer.Option(help="Host of 'tidegate loadtest run --expect-workers'.", metavar="HOST")
    ],
    master_port: Annotated[int, typer.Option(min=1, max=65535, help="The master's port.")] = MASTER_PORT,
) -> None:
    """Make a part of the load of a campaign. The master sends the load and the model's contract.

    Waits up to five minutes for the master. Exits with 0 after the worker's last request, and with another
    code if the campaign ends before.
    """
    from tidegate_loadtests.locust_process import exec_worker

    exec_worker(parse_host(master_host, "--master-host"), master_port)


def _read_safe_rate(planned: "Campaign", digest: str) -> float | None:
    """Return the requests per second that one replica serves, from the campaign's capacity file.

    Raises:
        FieldError: If another bundle or other requests were measured.
    """
    from tidegate_loadtests.capacity.document import Capacity

    if planned.scaling is None or planned.scaling.sizes is None:
        return None
    measured = Capacity.read(planned.scaling.sizes)
    for what, received, expected in (
        ("the bundle", measured.digest, digest),
        ("the protocol", measured.protocol.value, " and ".join(one.value for one in planned.protocols)),
        ("rows per request:", measured.rows_per_request, planned.rows_per_request),
    ):
        if received != expected:
            raise FieldError(
                ("scaling", "sizes"),
                f"{planned.scaling.sizes} is the capacity for {what} {received}, expected {expected} as in "
                "this load test: measure it with 'tidegate loadtest capacity', or remove the field",
            )
    return measured.safe_rate


def _describe(state: "Progress", campaign: "Campaign", workers: int | None) -> str:
    """Describe the progress; the part before the colon is the step."""
    if state.elapsed_seconds is None:
        if workers is not None:
            return f"Waiting for workers: {state.ready_workers} of {workers} are ready"
        return "Starting the load generator"
    if state.elapsed_seconds >= campaign.duration_seconds:
        return f"Waiting for the last responses: {state.live.requests:,} requests"
    intended = campaign.rate_at(state.elapsed_seconds)
    rate = f"{state.live.rate:,.0f} /s" + ("" if intended is None else f" of {intended:,.0f} /s")
    p99 = "" if state.live.p99_ms is None else f", p99 {format_milliseconds(state.live.p99_ms)}"
    replicas = "" if state.replicas is None else f", {state.replicas} ready replicas"
    phase = campaign.phase_at(state.elapsed_seconds).name
    return f"Phase {phase}: {rate}{p99}, {state.live.failures:,} failures{replicas}"


def _render(report: "Report", location: str) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("check", "value", "threshold", "", box=None, pad_edge=False)
    for check in report.checks:
        result = Text(check.outcome, _COLOURS[check.outcome])
        table.add_row(check.label, check.value_text, check.threshold_text, result)
    judged, generator, outcome = report.summary.judged, report.generator, report.verdict.outcome
    cpu = "a CPU" if generator.pinned_cpu is None else f"CPU {generator.pinned_cpu}"
    facts = (
        f"{judged.requests:,} requests, {judged.failures:,} failures, goodput "
        f"{format_number(judged.goodput)} responses per second. The "
        f"{'busiest worker' if generator.worker else 'load generator'} used "
        f"{format_percent(generator.utilization_mean)} of {cpu}."
    )
    return Group(Text(outcome, f"bold {_COLOURS[outcome]}"), table, facts, f"Report: {location}")

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
from tidegate.errors import GateNotPassedError, TidegateError
from tidegate_loadtests.capacity.cli import capacity
from tidegate_loadtests.worker_pool import ALL_INTERFACES, MASTER_PORT, WorkerPool, parse_host

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate_loadtests.plan import LoadTest
    from tidegate_loadtests.report import Report
    from tidegate_loadtests.runner import Progress

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}

app = typer.Typer(no_args_is_help=True, help="Load-test a server, with a verdict.")
app.command("capacity")(capacity)


@app.command("run")
def run(
    loadtest: Annotated[
        Path, typer.Argument(help="The plan: the load and its thresholds.", metavar="LOADTEST.yaml")
    ],
    url: Annotated[str, typer.Option(help="The server's base URL, for example http://localhost:8080.")],
    bundle: Annotated[str, typer.Option(help="The served bundle: a reference or a directory.")],
    name: Annotated[
        str | None, typer.Option(help="The model's name in requests. Default: the bundle's name.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory for the report, the summary and the samples.")] = Path(
        "out/loadtest"
    ),
    output: OutputOption = OutputFormat.TEXT,
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
            help="Store the report, the summary and the samples under STORE/MODEL/TIME as well.",
            metavar="STORE",
        ),
    ] = None,
) -> None:
    """Send requests at a given rate, validate the responses, and decide pass, fail or inconclusive.

    Writes report.html, summary.json and samples.csv. Exits with 3 if a threshold is missed, and with 1 if the
    load test is inconclusive.
    """
    from tidegate.settings import load_yaml
    from tidegate.store import Store, fetch
    from tidegate_loadtests import runner
    from tidegate_loadtests.plan import LoadTest
    from tidegate_loadtests.report import REPORT, SUMMARY, Report
    from tidegate_loadtests.summary import summarise
    from tidegate_loadtests.verdict import judge

    plan = load_yaml(loadtest, LoadTest)
    pool = None
    if expect_workers is not None:
        bind_host = parse_host(master_bind_host, "--master-bind-host")
        pool = WorkerPool(expect_workers, bind_host, master_bind_port)
    store = None if push is None else Store(push)
    with tempfile.TemporaryDirectory(prefix="tidegate-bundle-") as cache:
        served = fetch(bundle, Path(cache))
        contract = served.contract.model_copy(update={"name": name or served.contract.name})
    out.mkdir(parents=True, exist_ok=True)
    # The report of an earlier campaign must not stay next to the samples of this one.
    for file in (REPORT, SUMMARY):
        (out / file).unlink(missing_ok=True)
    started_at = datetime.now(UTC)
    with progress() as display:
        task = display.add_task("Starting the load generator", total=plan.warmup + plan.duration)

        def show(state: "Progress") -> None:
            display.update(
                task,
                completed=state.elapsed_seconds or 0.0,
                description=_describe(state, plan, expect_workers),
            )

        samples, generators = runner.run(plan, contract, url, out, show, pool)
        display.update(task, description="Writing the report")
        summary = summarise(samples, plan.duration)
        verdict = judge(plan, summary, generators)
        report = Report(
            model=contract.name,
            digest=served.digest,
            url=url,
            started_at=started_at.isoformat(timespec="seconds"),
            plan=plan,
            samples=samples,
            summary=summary,
            generators=generators,
            verdict=verdict,
        )
        (out / REPORT).write_text(report.html(), encoding="utf-8")
        (out / SUMMARY).write_text(json.dumps(report.document, indent=2) + "\n", encoding="utf-8")
    location = str(out / REPORT)
    try:
        if store is not None:
            folder = f"{contract.name}/{started_at:%Y%m%dT%H%M%SZ}"
            for file in (REPORT, SUMMARY, runner.SAMPLES):
                store.put(f"{folder}/{file}", out / file)
            location = f"{store.uri}/{folder}/{REPORT}"
    finally:  # the verdict is printed even if the store fails
        print_result(output, report.document | {"report": location}, _render(report, location))
    if verdict.outcome == "fail":
        raise GateNotPassedError(f"The load test failed: {'; '.join(verdict.reasons)}.")
    if verdict.outcome == "inconclusive":
        raise TidegateError(f"The load test is inconclusive: {'; '.join(verdict.reasons)}.")


@app.command("worker")
def worker(
    master_host: Annotated[
        str, typer.Option(help="Host of 'tidegate loadtest run --expect-workers'.", metavar="HOST")
    ],
    master_port: Annotated[int, typer.Option(min=1, max=65535, help="The master's port.")] = MASTER_PORT,
) -> None:
    """Make a part of the load of a campaign. The master sends the plan and the model's contract.

    Waits up to five minutes for the master. Exits with 0 after the worker's last request, and with another
    code if the campaign ends before.
    """
    from tidegate_loadtests.locust_process import exec_worker

    exec_worker(parse_host(master_host, "--master-host"), master_port)


def _describe(state: "Progress", plan: "LoadTest", workers: int | None) -> str:
    if state.elapsed_seconds is None:
        if workers is not None:
            return f"Waiting for workers: {state.ready_workers} of {workers} are ready"
        return "Starting the load generator"
    phase = "Warming up" if state.elapsed_seconds < plan.warmup else "Measuring"
    return f"{phase}: {state.requests:,} requests, {state.failures:,} failures"


def _render(report: "Report", location: str) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from tidegate_loadtests.formatting import format_number, format_percent

    table = Table("metric", "value", "threshold", "", box=None, pad_edge=False)
    for result in report.verdict.thresholds:
        met = Text("met", "green") if result.met else Text("missed", "red")
        table.add_row(result.label, result.value_text, result.threshold_text, met)
    summary, generator, outcome = report.summary, report.generator, report.verdict.outcome
    cpu = "a CPU" if generator.pinned_cpu is None else f"CPU {generator.pinned_cpu}"
    facts = (
        f"{summary.requests:,} requests, {summary.failures:,} failures, goodput "
        f"{format_number(summary.goodput)} responses per second. The "
        f"{'busiest worker' if generator.worker else 'load generator'} used "
        f"{format_percent(generator.utilization_mean)} of {cpu}."
    )
    return Group(Text(outcome, f"bold {_COLOURS[outcome]}"), table, facts, f"Report: {location}")

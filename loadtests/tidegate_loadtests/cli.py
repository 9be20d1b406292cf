# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``tidegate loadtest``: run a runner, show its verdict, write its report; or work for one.

Exit code 0 means that the objective was met, 3 that it was not, 1 that the campaign decides nothing.
"""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.console import OutputFormat, OutputOption, print_result, progress
from tidegate.errors import GateNotPassedError, TidegateError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate_loadtests.plan import LoadTest
    from tidegate_loadtests.report import Report
    from tidegate_loadtests.runner import Progress

app = typer.Typer(no_args_is_help=True, help="Load-test a server, with a verdict.")


@app.command("run")
def run(
    loadtest: Annotated[Path, typer.Argument(help="The plan: load and objective.", metavar="LOADTEST.yaml")],
    url: Annotated[str, typer.Option(help="The server's root, such as http://localhost:8080.")],
    contract: Annotated[
        str, typer.Option(help="The bundle that is served: a reference or a directory.", metavar="BUNDLE")
    ],
    name: Annotated[
        str | None, typer.Option(help="The model's name in requests; the bundle's if not given.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the report, the summary and the raw samples go.")] = Path(
        "out/loadtest"
    ),
    output: OutputOption = OutputFormat.TEXT,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many processes of 'tidegate loadtest work' make the load. Left out, it is made here.",
        ),
    ] = None,
    bind: Annotated[
        str,
        typer.Option(help="Where workers find this process; '*' is every interface.", metavar="HOST:PORT"),
    ] = "*:5557",
    push: Annotated[
        str | None,
        typer.Option(
            help="Also store report, summary and samples under <STORE>/<model>/<time>.", metavar="STORE"
        ),
    ] = None,
) -> None:
    """Ask a server at a given rate, check its answers, and say whether the objective was met.

    Writes report.html, summary.json and samples.csv. Exits with 3 if the objective was not met and with 1 if
    the campaign decides nothing.
    """
    from tidegate.settings import load_yaml
    from tidegate.store import Store, fetch
    from tidegate_loadtests import runner
    from tidegate_loadtests.plan import LoadTest
    from tidegate_loadtests.report import REPORT, SUMMARY, Report
    from tidegate_loadtests.summary import summarise
    from tidegate_loadtests.verdict import judge
    from tidegate_loadtests.worker_pool import Address, Team

    plan = load_yaml(loadtest, LoadTest)
    team = None if workers is None else Team(workers, Address.parse(bind))
    store = None if push is None else Store(push)
    with tempfile.TemporaryDirectory(prefix="tidegate-bundle-") as cache:
        bundle = fetch(contract, Path(cache))
        asked = bundle.contract.model_copy(update={"name": name or bundle.contract.name})
    out.mkdir(parents=True, exist_ok=True)
    # A report of an earlier campaign must not stand beside the samples of this one.
    for file in (REPORT, SUMMARY):
        (out / file).unlink(missing_ok=True)
    began = datetime.now(UTC)
    with progress() as display:
        task = display.add_task("Starting the load generator", total=plan.warmup + plan.duration)

        def show(state: "Progress") -> None:
            display.update(task, completed=state.seconds or 0.0, description=_describe(state, plan, workers))

        samples, generators = runner.run(plan, asked, url, out, show, team)
        display.update(task, description="Writing the report")
        summary = summarise(samples, plan.duration)
        verdict = judge(plan, summary, generators)
        when = began.isoformat(timespec="seconds")
        report = Report(asked.name, bundle.digest, url, when, plan, samples, summary, generators, verdict)
        (out / REPORT).write_text(report.html(), encoding="utf-8")
        (out / SUMMARY).write_text(json.dumps(report.document, indent=2) + "\n", encoding="utf-8")
    place = str(out / REPORT)
    try:
        if store is not None:
            folder = f"{asked.name}/{began:%Y%m%dT%H%M%SZ}"
            for file in (REPORT, SUMMARY, runner.SAMPLES):
                store.put(f"{folder}/{file}", out / file)
            place = f"{store.uri}/{folder}/{REPORT}"
    finally:  # the verdict stands, whatever the store does
        print_result(output, report.document | {"report": place}, _picture(report, place))
    if verdict.verdict == "fail":
        raise GateNotPassedError(f"The objective was not met: {'; '.join(verdict.reasons)}.")
    if verdict.verdict == "void":
        raise TidegateError(f"The campaign decides nothing: {'; '.join(verdict.reasons)}.")


@app.command("work")
def work(
    master: Annotated[
        str, typer.Option(help="Where 'tidegate loadtest run --workers' runs.", metavar="HOST[:PORT]")
    ],
) -> None:
    """Make a share of the load of a campaign that runs elsewhere, which says all that it takes.

    Waits up to five minutes for the master. Exits with 0 once the share is done and with another code if the
    campaign ended before.
    """
    from tidegate_loadtests.worker_pool import Address, become_worker

    become_worker(Address.parse(master))


def _describe(state: "Progress", plan: "LoadTest", workers: int | None) -> str:
    if state.seconds is None:
        if workers is not None:
            return f"Waiting for workers: {state.workers} of {workers} are ready"
        return "Starting the load generator"
    phase = "Warming up" if state.seconds < plan.warmup else "Asking"
    return f"{phase}: {state.requests:,} requests, {state.failures:,} failures"


def _picture(report: "Report", page: str) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from tidegate_loadtests.wording import figure, share

    colours = {"pass": "green", "fail": "red", "void": "yellow"}
    table = Table("measure", "limit", "measured", "", box=None, pad_edge=False)
    for measure in report.verdict.measures:
        met = Text("met", "green") if measure.met else Text("missed", "red")
        table.add_row(measure.title, measure.bound, measure.found, met)
    summary, generator, verdict = report.summary, report.generator, report.verdict.verdict
    facts = (
        f"{summary.requests:,} requests, {summary.failures:,} failures, {figure(summary.rps)} right answers "
        f"a second; the {'busiest worker' if generator.worker else 'generator'} used "
        f"{share(generator.cpu_mean)} of {'a' if generator.core is None else 'its'} core."
    )
    return Group(Text(verdict, f"bold {colours[verdict]}"), table, facts, f"Report: {page}")

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The main job, end to end, on this machine: train, push, serve, ask, load-test, stop.

It drives the command line as a user would, from outside, and compares every answer with scikit-learn's own.
What it saw goes to ``out/demo/summary.json``; it exits with 1 if anything is not as it should be.
"""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table

from tidegate.batch import Batch
from tidegate.bundle import JOBLIB, ONNX, SKOPS, Bundle
from tidegate.contract import close
from tidegate.protocol.requests import v1_body
from tidegate.protocol.samples import sample_rows
from tidegate.store import fetch

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "breast-cancer"
OUT = ROOT / "out" / "demo"
STORE = (OUT / "store").as_uri()
TIDEGATE = Path(sys.executable).with_name("tidegate")
NAME = "breast-cancer"
ROWS = 64
DRAIN_SECONDS = 3.0

console = Console(highlight=False)


def main() -> int:
    """Run the demo; returns the exit code."""
    began = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    console.print(f"[dim]Everything this writes is under {OUT.relative_to(ROOT)}/[/]")

    chapter("Train: split first, fit after; compile, and compare row by row")
    tidegate("train", EXAMPLE / "train.yaml", "--out", OUT / "bundle", "--push", STORE, "--channel", "stable")
    described = json.loads(tidegate("inspect", f"{STORE}/{NAME}:stable", "--output", "json", quiet=True))
    reference = f"{STORE}/{NAME}@sha256:{described['digest']}"

    chapter("Serve: verify the digest, load, ask the golden questions")
    http, grpc = free_port(), free_port()
    server = start_server(reference, http, grpc)
    try:
        bundle = fetch(str(OUT / "bundle"), OUT / "cache")
        chapter("Ask in each protocol; compare with scikit-learn's own answers")
        answers = ask_everywhere(bundle, http, grpc)
        chapter("What a wrong request gets")
        bad_request_status = ask_wrongly(http)
        chapter("Load: a campaign in open loop, payloads from the contract")
        load = load_test(reference, http)
        chapter("Stop: SIGTERM with requests in flight")
        lost, exit_code = asyncio.run(stop_under_load(server, bundle, http))
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()

    summary = {
        "model": {
            "name": NAME,
            "digest": described["digest"],
            "formats": [name.partition(".")[2] for name in (SKOPS, ONNX, JOBLIB) if name in bundle],
            "parity": {key: described["parity"][key] for key in ("rows", "max_abs_difference", "verdict")},
        },
        "metrics": {"test": described["metrics"]["test"]},
        "answers": answers,
        "bad_request_status": bad_request_status,
        "load": load,
        "lost_on_shutdown": lost,
        "report": str((OUT / "report.html").relative_to(ROOT)),
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    as_it_should_be = (
        all(answers.values())
        and bad_request_status == 400
        and load["failures"] == 0
        and load["passed"]
        and lost == 0
        and exit_code == 0
    )
    conclude(summary, time.monotonic() - began, as_it_should_be)
    return 0 if as_it_should_be else 1


def chapter(title: str) -> None:
    """Print a heading."""
    console.print()
    console.print(Rule(f"[bold]{title}[/]", align="left"))


def tidegate(*arguments: str | Path, quiet: bool = False) -> str:
    """Run a command, shown unless quiet; returns what it printed when quiet."""
    if not quiet:
        console.print(f"[bold cyan]$[/] tidegate {' '.join(map(shown, arguments))}", soft_wrap=True)
    command = [str(TIDEGATE), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE if quiet else None, text=True)
    if done.returncode != 0:
        sys.exit(f"demo: 'tidegate {arguments[0]}' exited with {done.returncode}, expected 0.")
    return done.stdout or ""


def shown(argument: str | Path) -> str:
    """An argument as a person in the project's folder would type it."""
    # An address keeps its whole path: file:// needs it.
    return str(argument.relative_to(ROOT)) if isinstance(argument, Path) else argument


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(reference: str, http: int, grpc: int) -> subprocess.Popen[str]:
    """Start the server and wait for the line that it prints once it is ready."""
    options = ["--http-port", str(http), "--grpc-port", str(grpc), "--drain-seconds", f"{DRAIN_SECONDS:g}"]
    console.print(f"[bold cyan]$[/] tidegate serve {reference} {' '.join(options)} &", soft_wrap=True)
    server = subprocess.Popen(
        [TIDEGATE, "serve", reference, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        sys.exit(f"demo: the server exited with {server.wait()} before it was ready.")
    console.print(line.rstrip(), soft_wrap=True)
    return server


def ask_everywhere(bundle: Bundle, http: int, grpc: int) -> dict[str, bool]:
    """Ask the same rows in each protocol; whether all answers equal scikit-learn's own."""
    rows = sample_rows(bundle.contract, ROWS, seed=2)
    (OUT / "rows.json").write_text(json.dumps(rows))
    expected = scikit_learn_answers(bundle, rows)
    table = Table("protocol", "asked", "answered as scikit-learn does", box=None, pad_edge=False)
    equal = {}
    for key, protocol in {"v1": "v1", "v2": "v2", "v2_binary": "v2-binary", "grpc": "grpc"}.items():
        where = (
            ["--grpc", f"127.0.0.1:{grpc}"] if protocol == "grpc" else ["--url", f"http://127.0.0.1:{http}"]
        )
        options: list[str | Path] = ["--model", NAME, "--input", OUT / "rows.json", "--output", "json"]
        answer = json.loads(tidegate("predict", "--protocol", protocol, *where, *options, quiet=True))
        outputs = answer["outputs"]
        equal[key] = bool(outputs) and all(
            len(values) == len(rows)
            and all(close(a, e, 1e-5) for a, e in zip(values, expected[name], strict=True))
            for name, values in outputs.items()
        )
        table.add_row(
            protocol, f"{len(rows)} rows: {', '.join(outputs)}", "yes" if equal[key] else "[red]no[/]"
        )
    console.print(table)
    return equal


def scikit_learn_answers(bundle: Bundle, rows: list[list[Any]]) -> dict[str, list[Any]]:
    """What the pipeline in the bundle says when scikit-learn itself runs it in this process."""
    from skops.io import loads

    from tidegate_serving.loading.policy import TRUSTED_TYPES

    pipeline = loads(bundle.read(SKOPS), trusted=sorted(TRUSTED_TYPES))
    X = Batch.from_rows(bundle.contract, rows).for_sklearn()
    return {"label": pipeline.predict(X).tolist(), "probabilities": pipeline.predict_proba(X).tolist()}


def ask_wrongly(http: int) -> int:
    """Leave a feature out of a row; returns the status."""
    url = f"http://127.0.0.1:{http}/v1/models/{NAME}:predict"
    body = {"instances": [{"mean radius": 14.1}]}
    console.print(f"[bold cyan]$[/] curl {url} --json '{json.dumps(body)}'", soft_wrap=True)
    answer = httpx.post(url, json=body)
    console.print(f"{answer.status_code} {answer.text}", soft_wrap=True, markup=False)
    return answer.status_code


def load_test(reference: str, http: int) -> dict[str, Any]:
    """Run the example's campaign; returns what the summary says of it."""
    folder = OUT / "loadtest"
    url = f"http://127.0.0.1:{http}"
    tidegate(
        "loadtest", "run", EXAMPLE / "loadtest.yaml", "--url", url, "--bundle", reference, "--out", folder
    )
    shutil.copy(folder / "report.html", OUT / "report.html")
    summary = json.loads((folder / "summary.json").read_text())
    latency = {key: summary["latency"][key] for key in ("p50_ms", "p99_ms")}
    return latency | {key: summary[key] for key in ("requests", "failures", "goodput", "passed")}


async def stop_under_load(server: subprocess.Popen[str], bundle: Bundle, http: int) -> tuple[int, int]:
    """Send SIGTERM while clients ask; returns how many requests were lost, and the server's exit code.

    Half of the clients keep their connection, half open one a request. They go on through most of the drain
    window, as the rest of a cluster does until it has heard that the pod is going.
    """
    url = f"http://127.0.0.1:{http}/v1/models/{NAME}:predict"
    body = v1_body(bundle.contract, sample_rows(bundle.contract, 200, seed=3))
    answered, lost = 0, 0
    until = time.monotonic() + 1.0 + DRAIN_SECONDS * 0.6

    async def ask(client: httpx.AsyncClient) -> None:
        nonlocal answered, lost
        try:
            ok = (await client.post(url, content=body)).status_code == 200
        except httpx.HTTPError:
            ok = False
        answered, lost = answered + ok, lost + (not ok)

    async def go_on(kept: int) -> None:
        limits = httpx.Limits(max_keepalive_connections=kept)
        async with httpx.AsyncClient(limits=limits) as client:
            while time.monotonic() < until:
                await ask(client)

    clients = asyncio.gather(*(go_on(kept) for kept in (1, 1, 1, 1, 0, 0, 0, 0)))
    await asyncio.sleep(1.0)
    before = answered
    server.send_signal(signal.SIGTERM)
    await clients
    exit_code = await asyncio.to_thread(server.wait, 60)
    console.print(
        f"{before:,} requests answered before the signal, {answered - before:,} after it, {lost} lost; "
        f"the server exited with {exit_code}."
    )
    return lost, exit_code


def conclude(summary: dict[str, Any], seconds: float, as_it_should_be: bool) -> None:
    """Print the summary table and what to try next."""
    chapter("Summary")
    metrics, load, parity = summary["metrics"]["test"], summary["load"], summary["model"]["parity"]
    table = Table.grid(padding=(0, 2))
    names = ("accuracy", "precision", "recall", "f1", "roc_auc")
    table.add_row("model", f"{NAME} sha256:{summary['model']['digest'][:12]}…")
    table.add_row(
        "on test data", ", ".join(f"{name.replace('_', ' ')} {metrics[name]:.3f}" for name in names)
    )
    table.add_row(
        "compiled",
        f"{parity['verdict']} over {parity['rows']:,} rows, "
        f"largest difference {parity['max_abs_difference']:.1e}",
    )
    equal = [protocol for protocol, same in summary["answers"].items() if same]
    table.add_row("answers equal in", ", ".join(equal))
    table.add_row("a wrong request", str(summary["bad_request_status"]))
    table.add_row(
        "load",
        f"{load['requests']:,} requests at {load['goodput']:.0f}/s, {load['failures']} failures, "
        f"p50 {load['p50_ms']:.1f} ms, p99 {load['p99_ms']:.1f} ms, "
        f"thresholds {'met' if load['passed'] else 'missed'}",
    )
    table.add_row("lost on shutdown", str(summary["lost_on_shutdown"]))
    table.add_row("report", summary["report"])
    verdict = "[green]all as it should be[/]" if as_it_should_be else "[red]not as it should be: see above[/]"
    console.print(Panel(table, title=f"{verdict} after {seconds:.0f} s", title_align="left", expand=False))
    console.print("Next:")
    command = shown(TIDEGATE)
    console.print(f"  {command} inspect {STORE}/{NAME}:stable", soft_wrap=True)
    console.print(f"  {command} serve {STORE}/{NAME}:stable", soft_wrap=True)
    console.print(f"  {command} train examples/credit-risk/train.yaml", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())

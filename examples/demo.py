# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The main job, end to end, on this machine: train, push, serve, predict, load-test, stop.

It drives the command line from outside, as a user does, and compares every output with scikit-learn's. The
results go to ``out/demo/summary.json``. It exits with 1 if one of them is not as expected.
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
from tidegate.contract import MATRIX
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
    """Run the demo; return the exit code."""
    started_at = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    console.print(f"[dim]All files are written below {OUT.relative_to(ROOT)}/[/]")

    print_heading("Train: split first, fit after; compile and compare row by row")
    tidegate("train", EXAMPLE / "train.yaml", "--out", OUT / "bundle", "--push", STORE, "--channel", "stable")
    description = json.loads(tidegate("inspect", f"{STORE}/{NAME}:stable", "--output", "json", quiet=True))
    reference = f"{STORE}/{NAME}@sha256:{description['digest']}"

    print_heading("Serve: verify the digest, load, send the golden requests")
    http, grpc = free_port(), free_port()
    server = start_server(reference, http, grpc)
    try:
        bundle = fetch(str(OUT / "bundle"), OUT / "cache")
        print_heading("Predict in each protocol; compare with scikit-learn's outputs")
        equal_outputs = predict_in_each_protocol(bundle, http, grpc)
        print_heading("Send an invalid request")
        bad_request_status = send_invalid_request(http)
        print_heading("Load: a campaign in open loop, payloads from the contract")
        load = load_test(reference, http)
        print_heading("Stop: SIGTERM with requests in flight")
        lost, exit_code = asyncio.run(stop_under_load(server, bundle, http))
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()

    summary = {
        "model": {
            "name": NAME,
            "digest": description["digest"],
            "formats": [name.partition(".")[2] for name in (SKOPS, ONNX, JOBLIB) if name in bundle],
            "parity": {key: description["parity"][key] for key in ("rows", "max_abs_difference", "verdict")},
        },
        "metrics": {"test": description["metrics"]["test"]},
        "equal_outputs": equal_outputs,
        "bad_request_status": bad_request_status,
        "load": load,
        "lost_on_shutdown": lost,
        "report": str((OUT / "report.html").relative_to(ROOT)),
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    as_expected = (
        all(equal_outputs.values())
        and bad_request_status == 400
        and load["failures"] == 0
        and load["passed"]
        and lost == 0
        and exit_code == 0
    )
    conclude(summary, time.monotonic() - started_at, as_expected)
    return 0 if as_expected else 1


def print_heading(title: str) -> None:
    """Print a heading."""
    console.print()
    console.print(Rule(f"[bold]{title}[/]", align="left"))


def tidegate(*arguments: str | Path, quiet: bool = False) -> str:
    """Run a command and show it, or if quiet return its output."""
    if not quiet:
        console.print(f"[bold cyan]$[/] tidegate {' '.join(map(format_argument, arguments))}", soft_wrap=True)
    command = [str(TIDEGATE), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE if quiet else None, text=True)
    if done.returncode != 0:
        sys.exit(f"demo: 'tidegate {arguments[0]}' exited with {done.returncode}, expected 0.")
    return done.stdout or ""


def format_argument(argument: str | Path) -> str:
    """Format an argument relative to the project's folder."""
    # An address keeps its whole path, because file:// needs it.
    return str(argument.relative_to(ROOT)) if isinstance(argument, Path) else argument


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(reference: str, http: int, grpc: int) -> subprocess.Popen[str]:
    """Start the server and wait for the line that reports its readiness.

    Args:
        reference: The bundle.
        http: The port for REST.
        grpc: The port for gRPC.
    """
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


def predict_in_each_protocol(bundle: Bundle, http: int, grpc: int) -> dict[str, bool]:
    """Send the same rows in each protocol.

    Args:
        bundle: The served bundle.
        http: The port for REST.
        grpc: The port for gRPC.

    Returns:
        By protocol, whether all outputs equal scikit-learn's.
    """
    rows = sample_rows(bundle.contract, ROWS, seed=2)
    (OUT / "rows.json").write_text(json.dumps(rows))
    expected, golden = scikit_learn_outputs(bundle, rows), bundle.contract.golden
    table = Table("protocol", "rows and outputs", "equal to scikit-learn", box=None, pad_edge=False)
    equal = {}
    for key, protocol in {"v1": "v1", "v2": "v2", "v2_binary": "v2-binary", "grpc": "grpc"}.items():
        address = (
            ["--grpc", f"127.0.0.1:{grpc}"] if protocol == "grpc" else ["--url", f"http://127.0.0.1:{http}"]
        )
        options: list[str | Path] = ["--model", NAME, "--input", OUT / "rows.json", "--output", "json"]
        response = json.loads(tidegate("predict", "--protocol", protocol, *address, *options, quiet=True))
        outputs = response["outputs"]
        equal[key] = bool(outputs) and all(
            len(values) == len(rows)
            and all(golden.is_close(a, e) for a, e in zip(values, expected[name], strict=True))
            for name, values in outputs.items()
        )
        table.add_row(
            protocol, f"{len(rows)} rows: {', '.join(outputs)}", "yes" if equal[key] else "[red]no[/]"
        )
    console.print(table)
    return equal


def scikit_learn_outputs(bundle: Bundle, rows: list[list[Any]]) -> dict[str, list[Any]]:
    """Compute the outputs with the bundle's own pipeline, by scikit-learn in this process."""
    from skops.io import loads

    from tidegate.trust.policy import TRUSTED_TYPES

    pipeline = loads(bundle.read(SKOPS), trusted=sorted(TRUSTED_TYPES))
    X = Batch.from_rows(bundle.contract, rows).arrays[MATRIX]
    return {"label": pipeline.predict(X).tolist(), "probabilities": pipeline.predict_proba(X).tolist()}


def send_invalid_request(http: int) -> int:
    """Send a row with missing features; return the status."""
    url = f"http://127.0.0.1:{http}/v1/models/{NAME}:predict"
    body = {"instances": [{"mean radius": 14.1}]}
    console.print(f"[bold cyan]$[/] curl {url} --json '{json.dumps(body)}'", soft_wrap=True)
    response = httpx.post(url, json=body)
    console.print(f"{response.status_code} {response.text}", soft_wrap=True, markup=False)
    return response.status_code


def load_test(reference: str, http: int) -> dict[str, Any]:
    """Run the example's load test; return its main figures."""
    folder = OUT / "loadtest"
    url = f"http://127.0.0.1:{http}"
    tidegate(
        "loadtest", "run", EXAMPLE / "loadtest.yaml", "--url", url, "--bundle", reference, "--out", folder
    )
    shutil.copy(folder / "report.html", OUT / "report.html")
    verdict = json.loads((folder / "verdict.json").read_text())
    latency = {key: verdict["latency"][key] for key in ("p50_ms", "p99_ms")}
    return latency | {key: verdict[key] for key in ("requests", "failures", "goodput", "passed")}


async def stop_under_load(server: subprocess.Popen[str], bundle: Bundle, http: int) -> tuple[int, int]:
    """Send SIGTERM while clients send requests.

    Half of the clients keep their connection, the other half opens one connection per request. They continue
    through most of the drain window, as clients in a cluster do until the endpoint is removed everywhere.

    Args:
        server: The server's process.
        bundle: The served bundle.
        http: The port for REST.

    Returns:
        The number of lost requests, and the server's exit code.
    """
    url = f"http://127.0.0.1:{http}/v1/models/{NAME}:predict"
    body = v1_body(bundle.contract, sample_rows(bundle.contract, 200, seed=3))
    succeeded, lost = 0, 0
    until = time.monotonic() + 1.0 + DRAIN_SECONDS * 0.6

    async def send(client: httpx.AsyncClient) -> None:
        nonlocal succeeded, lost
        try:
            ok = (await client.post(url, content=body)).status_code == 200
        except httpx.HTTPError:
            ok = False
        succeeded, lost = succeeded + ok, lost + (not ok)

    async def run_client(kept: int) -> None:
        limits = httpx.Limits(max_keepalive_connections=kept)
        async with httpx.AsyncClient(limits=limits) as client:
            while time.monotonic() < until:
                await send(client)

    clients = asyncio.gather(*(run_client(kept) for kept in (1, 1, 1, 1, 0, 0, 0, 0)))
    await asyncio.sleep(1.0)
    before = succeeded
    server.send_signal(signal.SIGTERM)
    await clients
    exit_code = await asyncio.to_thread(server.wait, 60)
    console.print(
        f"{before:,} successful responses before the signal, {succeeded - before:,} after it, {lost} lost; "
        f"the server exited with {exit_code}."
    )
    return lost, exit_code


def conclude(summary: dict[str, Any], seconds: float, as_expected: bool) -> None:
    """Print the summary and the next commands.

    Args:
        summary: The results.
        seconds: Duration of the demo.
        as_expected: Whether every result is as expected.
    """
    print_heading("Summary")
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
    equal = [protocol for protocol, same in summary["equal_outputs"].items() if same]
    table.add_row("outputs equal in", ", ".join(equal))
    table.add_row("invalid request", str(summary["bad_request_status"]))
    table.add_row(
        "load",
        f"{load['requests']:,} requests at {load['goodput']:.0f}/s, {load['failures']} failures, "
        f"p50 {load['p50_ms']:.1f} ms, p99 {load['p99_ms']:.1f} ms, "
        f"thresholds {'met' if load['passed'] else 'missed'}",
    )
    table.add_row("lost on shutdown", str(summary["lost_on_shutdown"]))
    table.add_row("report", summary["report"])
    verdict = (
        "[green]all results as expected[/]"
        if as_expected
        else "[red]a result is not as expected, see above[/]"
    )
    console.print(Panel(table, title=f"{verdict} after {seconds:.0f} s", title_align="left", expand=False))
    console.print("Next:")
    command = format_argument(TIDEGATE)
    console.print(f"  {command} inspect {STORE}/{NAME}:stable", soft_wrap=True)
    console.print(f"  {command} serve {STORE}/{NAME}:stable", soft_wrap=True)
    console.print(f"  {command} train examples/credit-risk/train.yaml", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())

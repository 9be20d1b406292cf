# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``make grpc-clients``: a client in Go keeps its channels while connections end by age and a server stops.

ghz, on grpc-go, calls without pause through a router that counts connections. ``out/grpc/clients.json`` has
the calls, the errors and the connections; an error exits with 1. ``make test`` has the same with grpcio.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.protocol.clients import infer_request, metric_value, one_row
from tests.support import ghz, go_tool
from tests.support.router import Router, routing
from tests.support.servers import GRPC_TRANSPORTS, LiveServer, serving
from tests.support.trained_bundles import NUMERIC, train_bundle
from tidegate.bundle import Bundle
from tools.cluster import ClusterError

RESULT = Path(__file__).parents[1] / "out" / "grpc" / "clients.json"
CONNECTIONS = 4
SECONDS = 10
DRAIN_SECONDS = 2
"""Connections end after half of it."""

MIN_CALLS = 200
"""Calls before the signal."""

COUNTER = 'tidegate_requests_total{code="OK",protocol="grpc"}'


@contextmanager
def calling(program: Path, server: LiveServer, router: Router, folder: Path) -> Iterator[dict[str, Any]]:
    """Run ghz during a block; its counts are known at the end."""
    body, protoset = folder / "body", folder / "protoset"
    body.write_bytes(infer_request(server, one_row(server), raw=True).SerializeToString())
    ghz.write_protoset(protoset)
    arguments = ghz.command(program, router.address, protoset, body, CONNECTIONS, SECONDS)
    counts: dict[str, Any] = {}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        yield counts
        output, _ = process.communicate()
    summary = ghz.parse(output)
    errors = summary.error_responses + summary.failures
    counts |= {"calls": summary.responses, "errors": errors, "connections": router.connections}


def age(program: Path, bundle: Bundle, folder: Path, transport: str) -> dict[str, Any]:
    """Call a server whose connections end every second."""
    options = ("--drain-seconds", str(DRAIN_SECONDS))
    with (
        serving(bundle, folder / "log", *options, transport=transport) as server,
        routing(server.grpc) as router,
        calling(program, server, router, folder) as counts,
    ):
        pass
    return counts | {"passed": not counts["errors"] and router.connections >= 4 * CONNECTIONS}


def sigterm(program: Path, bundle: Bundle, folder: Path, transport: str) -> dict[str, Any]:
    """Stop a server under load, while the router sends new connections to another one."""
    options = ("--drain-seconds", str(DRAIN_SECONDS))
    with (
        serving(bundle, folder / "log", *options, transport=transport) as server,
        serving(bundle, folder / "other", *options, transport=transport) as other,
        routing(server.grpc) as router,
    ):
        with calling(program, server, router, folder) as counts:
            while metric_value(server, COUNTER) < MIN_CALLS:
                pass
            router.target = other.grpc
            server.terminate()
            code = server.process.wait(SECONDS)
        moved = metric_value(other, COUNTER)
    return counts | {
        "exit_code": code,
        "moved": moved,
        "passed": not counts["errors"] and not code and moved > 0,
    }


SCENARIOS: dict[str, Callable[[Path, Bundle, Path, str], dict[str, Any]]] = {"age": age, "sigterm": sigterm}


def main() -> None:
    """Run each scenario on each transport, write the counts, and exit with 1 unless all have passed."""
    try:
        commands, _ = go_tool.build(ghz.GHZ)
    except ClusterError as error:
        sys.exit(f"error: {error}")
    program, document = commands / "ghz", {}
    with tempfile.TemporaryDirectory() as name:
        bundle = train_bundle(NUMERIC, Path(name) / "bundle")
        for transport in GRPC_TRANSPORTS:
            for scenario, run in SCENARIOS.items():
                folder = Path(name) / f"{transport}-{scenario}"
                folder.mkdir()
                document[f"{transport} {scenario}"] = counts = run(program, bundle, folder, transport)
                print(f"{transport}, {scenario}: {json.dumps(counts)}", flush=True)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(0 if all(counts["passed"] for counts in document.values()) else 1)


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Servers in processes of their own, started by the command `tidegate serve`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tidegate.bundle import Bundle

TIDEGATE = [sys.executable, "-c", "from tidegate.cli import main; main()"]

GRPC_TRANSPORTS = ("asyncio", "grpcio")
"""The values of ``--grpc-transport``. The servers of the whole suite have the first one."""

NUMERIC_LIMITS = ("--max-rows", "500", "--max-body-bytes", "300000")
"""Options of the server of ``numeric_bundle``, for tests of requests that are too large."""


@dataclass
class LiveServer:
    """A running server.

    Args:
        process: The server's process.
        log: The file with its standard error.
        name: The model's name in requests.
        bundle: The bundle that it serves.
        http: The URL of REST.
        grpc: The address of gRPC.
        metrics: The URL of the metrics.
        shadow_http: The URL of mirrored requests, if the server has a port for them.
        shadow_grpc: The address of mirrored requests over gRPC, in the same way.
        pairs: The URL of the sampled predictions, if some are sampled.
    """

    process: subprocess.Popen[str]
    log: Path
    name: str
    bundle: Bundle
    http: str
    grpc: str
    metrics: str
    shadow_http: str
    shadow_grpc: str
    pairs: str

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def serving(
    bundle: Bundle, log: Path, *options: str, source: str | None = None, transport: str | None = None
) -> Iterator[LiveServer]:
    """Run `tidegate serve` on free ports during a block.

    Args:
        bundle: The bundle to serve.
        log: The file for the server's standard error.
        options: Further options of the command.
        source: The reference of the bundle; its folder by default.
        transport: The transport of gRPC; the command's default by default.
    """
    command = [*TIDEGATE, "serve", source or str(bundle.path), "--host", "127.0.0.1", "--output", "json"]
    command += ["--http-port", "0", "--grpc-port", "0", "--drain-seconds", "0", *options]
    if transport is not None:
        command += ["--grpc-transport", transport]
    with log.open("w") as sink:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "default"},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the server ended before it was ready:\n{log.read_text()}"
        ready = json.loads(line)
        yield LiveServer(
            process,
            log,
            ready["name"],
            bundle,
            f"http://127.0.0.1:{ready['http_port']}",
            f"127.0.0.1:{ready['grpc_port']}",
            f"http://127.0.0.1:{ready['metrics_port'] or ready['http_port']}/metrics",
            f"http://127.0.0.1:{ready['shadow_http_port']}",
            f"127.0.0.1:{ready['shadow_grpc_port']}",
            f"http://127.0.0.1:{ready['pairs_port']}/pairs",
        )
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()

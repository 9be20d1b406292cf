# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command h2spec: a run of all its cases."""

import subprocess
from pathlib import Path

from tests.h2spec.cases import Case, parse
from tests.support.servers import LiveServer
from tools.cluster.toolchain import ToolSet

H2SPEC = ToolSet("h2spec", "github.com/summerwind/h2spec", "20 s")


def run(command: Path, server: LiveServer, report: Path, *options: str) -> list[Case]:
    """Run all cases on a server.

    Args:
        command: The program.
        server: The server.
        report: The file for h2spec's report.
        options: Further options of the program.

    Raises:
        RuntimeError: If h2spec ends without a report, or the server ends.
    """
    host, port = server.grpc.split(":")
    done = subprocess.run(
        [command, "--strict", "--host", host, "--port", port, "--junit-report", report, *options],
        capture_output=True,
        text=True,
    )
    if not report.exists() or server.process.poll() is not None:
        raise RuntimeError(f"h2spec has no report:\n{done.stdout[-2000:]}{done.stderr}")
    return parse(report.read_text())

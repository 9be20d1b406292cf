# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""wrk: the closed loop over HTTP. One thread on one core; the next request follows the previous response."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import ServerError

_SCRIPT = Path(__file__).with_suffix(".lua")
REQUEST_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Summary:
    """A generator's report.

    Args:
        responses: Responses with any status.
        error_responses: Responses with status 400 and above; gRPC calls with another status than OK.
        failures: Failed connections, and requests without a response.
        rps: Responses per second.
        p50_ms: Median latency.
        p99_ms: 99th percentile of the latency.
    """

    responses: int
    error_responses: int
    failures: int
    rps: float
    p50_ms: float
    p99_ms: float

    @property
    def goodput(self) -> float:
        """Successful responses per second."""
        return self.rps * (1 - self.error_responses / self.responses) if self.responses else 0.0


def command(
    wrk: Path, url: str, body: Path, headers: Mapping[str, str], connections: int, seconds: int
) -> list[str | Path]:
    """Build the command line.

    Args:
        wrk: The program.
        url: The URL of the requests.
        body: The file with the request's body.
        headers: The request's headers.
        connections: Number of connections.
        seconds: Duration of the load.
    """
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={REQUEST_TIMEOUT_SECONDS}s"]
    header_lines = [f"{name}: {value}" for name, value in headers.items()]
    return [wrk, *options, "-s", _SCRIPT, url, "--", body, *header_lines]


def parse(output: str) -> Summary:
    """Parse the line that the script prints after wrk's own report.

    Raises:
        ServerError: If there is no such line, or no response.
    """
    line = next((line for line in reversed(output.splitlines()) if line.startswith("{")), None)
    if line is None:
        raise ServerError("wrk printed no report")
    report = json.loads(line)
    if not report["requests"]:
        raise ServerError("wrk received no response")
    return Summary(
        report["requests"],
        report["status"],
        report["connect"] + report["read"] + report["write"] + report["timeout"],
        report["requests"] / (report["duration_us"] / 1e6),
        report["p50_us"] / 1e3,
        report["p99_us"] / 1e3,
    )

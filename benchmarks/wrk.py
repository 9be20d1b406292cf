# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""wrk: the closed loop over HTTP. One thread on one core; every connection asks again once it is answered."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import ServerError

_SCRIPT = Path(__file__).with_suffix(".lua")
REQUEST_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Summary:
    """What wrk saw.

    Args:
        requests: Answers of any kind.
        refused: Those with a status of 400 and more.
        broken: Connections that failed, and answers that never came.
    """

    requests: int
    refused: int
    broken: int
    rps: float
    p50_ms: float
    p99_ms: float


def command(
    wrk: Path, url: str, body: Path, headers: Mapping[str, str], connections: int, seconds: int
) -> list[str | Path]:
    """The command line."""
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={REQUEST_SECONDS}s"]
    given = [f"{name}: {value}" for name, value in headers.items()]
    return [wrk, *options, "-s", _SCRIPT, url, "--", body, *given]


def parse(output: str) -> Summary:
    """Read the line that the script prints after wrk's own report.

    Raises:
        ServerError: There is none, or not a single answer.
    """
    line = next((line for line in reversed(output.splitlines()) if line.startswith("{")), None)
    if line is None:
        raise ServerError("wrk printed no result")
    seen = json.loads(line)
    if not seen["requests"]:
        raise ServerError("wrk got not a single answer")
    return Summary(
        seen["requests"],
        seen["status"],
        seen["connect"] + seen["read"] + seen["write"] + seen["timeout"],
        seen["requests"] / (seen["duration_us"] / 1e6),
        seen["p50_us"] / 1e3,
        seen["p99_us"] / 1e3,
    )

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""h2load: the closed loop over gRPC, with the request's bytes unchanged.

h2load speaks HTTP/2 and not gRPC, and uses a fifth of the CPU that a client in Go would. A gRPC error has the
HTTP status 200 and no message, so responses are counted by the bytes of their messages.
"""

import re
from pathlib import Path

import numpy as np

from benchmarks.wrk import Summary
from tidegate.errors import ServerError
from tidegate.stats import percentile

_PREFIX_BYTES = 5
_COUNTS = re.compile(r"^requests: .* (?P<done>\d+) done, .*, (?P<failed>\d+) failed", re.M)
_RATE = re.compile(r"^finished in \S+, (?P<rps>[\d.]+) req/s", re.M)
_LOG_LINE = re.compile(r"^\d+\t\d+\t([0-9]+)$", re.M)
_DATA = re.compile(r"\((?P<bytes>\d+)\) data$", re.M)


def with_prefix(message: bytes) -> bytes:
    """Return a message with its prefix: not compressed, and its length."""
    return b"\0" + len(message).to_bytes(4) + message


def command(
    h2load: Path, url: str, body: Path, log: Path, connections: int, streams: int, seconds: int
) -> list[str | Path]:
    """Build the command line.

    Args:
        h2load: The program.
        url: The URL of the calls.
        body: The file with the serialized request and its prefix.
        log: The file for the time of each response. An existing file would be continued.
        connections: Number of connections.
        streams: Concurrent calls of each connection.
        seconds: Duration of the load.
    """
    return [
        h2load,
        "--threads=1",
        f"--clients={connections}",
        f"--max-concurrent-streams={streams}",
        f"--duration={seconds}",
        "--header=content-type: application/grpc",
        "--header=te: trailers",
        f"--data={body}",
        f"--log-file={log}",
        url,
    ]


def parse(output: str, log: str, message_bytes: int) -> Summary:
    """Parse the report.

    Args:
        output: What h2load printed.
        log: A line per response: its start, its HTTP status and its duration in microseconds.
        message_bytes: The length of a successful response's message.

    Raises:
        ServerError: If the report holds no response.
    """
    counts, rate, data = _COUNTS.search(output), _RATE.search(output), _DATA.search(output)
    latencies = [int(microseconds) for microseconds in _LOG_LINE.findall(log)]
    if counts is None or rate is None or data is None or not latencies:
        raise ServerError(f"h2load printed no report: {output.strip()[-120:]}")
    responses = int(counts["done"])
    # Of calls that the end cuts off, the message may have arrived, so a few errors could stay unnoticed.
    messages = int(data["bytes"]) // (_PREFIX_BYTES + message_bytes)
    p50, p99 = (percentile(np.array(latencies), q) for q in (50, 99))
    assert p50 is not None
    assert p99 is not None
    return Summary(
        responses,
        max(0, responses - messages),
        int(counts["failed"]),
        float(rate["rps"]),
        p50 / 1e3,
        p99 / 1e3,
    )

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import h2load, wrk
from tidegate.errors import ServerError

WRK = """Running 1s test @ http://127.0.0.1:8080/v1/models/lr:predict
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.21ms  310.00us   9.80ms   91.00%
    Req/Sec    13.20k     1.10k   14.90k    80.00%
  26400 requests in 2.00s, 5.10MB read
Requests/sec:  13200.00
Transfer/sec:      2.55MB
"""
LINE = {
    "requests": 26400,
    "duration_us": 2_000_000,
    "status": 3,
    "connect": 1,
    "read": 2,
    "write": 0,
    "timeout": 4,
    "p50_us": 1210,
    "p99_us": 2500,
}


def test_wrk_parse_separates_error_responses_and_failures() -> None:
    assert wrk.parse(f"{WRK}{json.dumps(LINE)}\n") == wrk.Summary(26400, 3, 7, 13200.0, 1.21, 2.5)


@pytest.mark.parametrize(
    ("output", "match"), [(WRK, "no report"), (json.dumps(LINE | {"requests": 0}), "no response")]
)
def test_wrk_parse_without_response_raises(output: str, match: str) -> None:
    with pytest.raises(ServerError, match=match):
        wrk.parse(output)


def test_wrk_command_passes_body_and_headers_to_the_script() -> None:
    headers = {"Content-Type": "application/json"}
    argv = wrk.command(Path("/wrk"), "http://h/", Path("/body"), headers, 16, 3)
    assert "-c16" in argv
    assert "-d3s" in argv
    assert argv[argv.index("--") + 1 :] == [Path("/body"), "Content-Type: application/json"]


H2LOAD = """\
finished in 4.00s, 10612.25 req/s, 1.93MB/s
requests: 4 total, 68 started, 4 done, 4 succeeded, 1 failed, 0 errored, 0 timeout
status codes: 4 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 7.72MB (8097001) total, 829.08KB (848980) headers (space savings 47.37%), 5.21MB (420) data
"""
H2LOAD_LOG = "1\t200\t1000\n2\t200\t2000\n3\t200\t3000\n4\t200\t9000\n"


@pytest.mark.parametrize(("message_bytes", "errors"), [(100, 0), (135, 1), (205, 2), (1000, 4)])
def test_h2load_counts_responses_without_a_message(message_bytes: int, errors: int) -> None:
    report = h2load.parse(H2LOAD, H2LOAD_LOG, message_bytes)
    assert report == wrk.Summary(4, errors, 1, 10612.25, 2.0, 9.0)


@given(st.text(), st.text())
def test_h2load_parse_other_output_raises(output: str, log: str) -> None:
    with pytest.raises(ServerError, match="h2load printed no report"):
        h2load.parse(output, log, 100)


def test_h2load_without_a_response_raises() -> None:
    with pytest.raises(ServerError, match="h2load printed no report"):
        h2load.parse(H2LOAD, "", 100)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from tests.h2spec.cases import EXCLUDED, Case, parse, summarize
from tests.protocol.test_http2_errors import VIOLATIONS

REPORT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="6.3. PRIORITY" package="http2/6.3" id="6.3" tests="2" skipped="1" failures="0" errors="0">
    <testcase package="http2/6.3" classname="Sends a frame" time="0.0006"></testcase>
    <testcase package="http2/6.3" classname="Sends another" time="0.0006"><skipped></skipped></testcase>
  </testsuite>
  <testsuite name="6.9. WINDOW_UPDATE" package="http2/6.9" id="6.9" tests="1" skipped="0" errors="1">
    <testcase package="http2/6.9" classname="Sends an increment" time="2.0"><error>GOAWAY Frame
Timeout</error></testcase>
  </testsuite>
</testsuites>
"""

PASSED = Case("http2/6.3/1", "Sends a frame", "passed")
SKIPPED = Case("http2/6.3/2", "Sends another", "skipped")
FAILED = Case("http2/6.9/1", "Sends an increment", "failed", "GOAWAY Frame\nTimeout")


def test_parse_names_each_case_by_its_place() -> None:
    assert parse(REPORT) == [PASSED, SKIPPED, FAILED]


def test_summarize_counts_the_outcomes() -> None:
    summary = summarize([PASSED, SKIPPED, FAILED])
    assert (summary["passed"], summary["failed"]) == (1, 1)
    assert [case["name"] for case in summary["failed_cases"]] == ["http2/6.9/1"]
    assert [case["name"] for case in summary["skipped_cases"]] == ["http2/6.3/2"]
    assert summary["excluded_cases"] == []


def test_summarize_excluded_case_has_its_reason() -> None:
    summary = summarize([PASSED, FAILED], {"http2/6.9/1": "another RFC", "http2/6.3/1": "another RFC"})
    assert (summary["passed"], summary["failed"]) == (1, 0)
    [excluded] = summary["excluded_cases"]
    assert (excluded["name"], excluded["reason"]) == ("http2/6.9/1", "another RFC")


def test_excluded_cases_are_tested_in_calls() -> None:
    assert EXCLUDED.keys() <= VIOLATIONS.keys()

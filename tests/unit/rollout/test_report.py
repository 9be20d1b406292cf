# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import pytest

from tidegate_rollout.evidence import Block, Evidence, TrackCounts
from tidegate_rollout.pairs import Sample
from tidegate_rollout.plan import RolloutValues
from tidegate_rollout.policy import RolloutPolicy
from tidegate_rollout.report import RolloutReport
from tidegate_rollout.state import Cause, Result, RolloutState, StepRecord
from tidegate_rollout.verdict import assess

POLICY = RolloutPolicy()
STABLE, CANARY = "ab" * 32, "cd" * 32


def report_of(bad: int, **fields: Any) -> RolloutReport:
    """Return the report of two steps, in which so many of the canary's requests failed."""
    evidence = Evidence.start(POLICY, (0.05, 0.1))
    block = Block(
        TrackCounts(500, bad, timed=500, slow=(5, 0)), TrackCounts(4500, 9, timed=4500, slow=(45, 9)), 15
    )
    pair = Sample("k", "d", "yes", 0.9), Sample("k", "d", "yes", 0.9)
    for _ in range(2):
        evidence = evidence.add(block, POLICY, [pair] * 100)
        evidence = evidence.record(assess(POLICY, evidence).progress).next_step(POLICY)
    state = RolloutState(
        digest=CANARY,
        policy=POLICY,
        baseline=RolloutValues.model_construct(digest=STABLE),
        replicas=2,
        evidence=evidence,
        step="weight-25",
        step_started_at=0,
        records=(StepRecord(step="mirror-10", started_at=100, ended_at=190, outcome="pass", reason=""),),
        **fields,
    )
    return RolloutReport("breast-cancer", "models", state)


def test_page_of_a_promotion_has_counts_and_plot() -> None:
    page = report_of(1, result=Result.PROMOTED).html()
    assert "<h1>Rollout of breast-cancer: <b>promoted</b></h1>" in page
    assert (
        "The canary served 500 requests of users in the counted time, 1 of them with server errors." in page
    )
    assert '<header class="pass">' in page
    assert "<svg" in page
    assert "mirror-10" in page
    assert "90 s" in page
    for digest in (STABLE, CANARY):
        assert f"sha256:{digest}" in page


def test_page_of_an_abort_has_the_reason() -> None:
    reason = "server errors: expected <1>"
    page = report_of(60, result=Result.ABORTED, cause=Cause.VERDICT, reason=reason).html()
    assert '<header class="fail">' in page
    assert "server errors: expected &lt;1&gt;" in page
    assert '<td class="n fail">fail</td>' in page


def test_page_of_a_rollout_in_progress_has_the_pending_conditions() -> None:
    report = report_of(1)
    assert report.outcome == "in progress"
    assert "expected at least 200 requests of the canary, received 0" in report.html()


def test_page_loads_nothing() -> None:
    page = report_of(1).html()
    assert "<script" not in page
    assert "<link" not in page
    assert {part.split('"')[0] for part in page.split("http")[1:]} == {"://www.w3.org/2000/svg"}


@pytest.mark.parametrize("bad", [0, 60])
def test_document_is_json_with_requests_and_checks(bad: int) -> None:
    report = report_of(bad, result=Result.ABORTED, cause=Cause.VERDICT, reason="r")
    document = json.loads(json.dumps(report.document, allow_nan=False))
    assert (document["result"], document["cause"], document["reasons"]) == ("aborted", "verdict", ["r"])
    assert document["requests"]["mirrored"]["bad"] == document["requests"]["canary"]["bad"] == bad
    assert document["pairs"]["equal"] == 200
    assert len(document["history"]) == 2
    errors = next(check for check in document["checks"] if check["name"] == "errors")
    assert errors["outcome"] == ("fail" if bad else "continue")
    assert errors["interval"][1] is None or errors["interval"][0] <= errors["figure"] <= errors["interval"][1]

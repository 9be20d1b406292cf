# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.support.campaigns import make_campaign, make_phase
from tests.support.reports import GENERATOR, make_report, make_scaling_report, simulate
from tests.support.samples import make_samples
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.report import VERSION
from tidegate_loadtests.samples import Samples

OPEN_LOOP = make_campaign(make_phase(thresholds={"max_p50_ms": 100, "min_goodput": 50}))
CLOSED_LOOP = make_campaign(make_phase(load={"model": "closed", "users": 3}, duration=5))
STARTS = np.arange(50) / 10


class Page(HTMLParser):
    """The tags of a page, its text, and the addresses that it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [
            value or ""
            for name, value in attributes
            if name in ("href", "src", "xlink:href", "data", "action")
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_runs_and_loads_nothing() -> None:
    html = make_scaling_report("fail").html()
    page = Page(html)
    assert page.tags.isdisjoint({"script", "link", "iframe", "img", "object"})
    assert "svg" in page.tags
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"@import|url\((?!#)", html)
    assert re.findall(r"https?://[^\s<\"]+", html) == ["http://stub"]


def test_page_escapes_the_text_of_the_server() -> None:
    errors = ["status 500: <script>alert(1)</script>"] * len(STARTS)
    html = make_report(make_samples(STARTS, error=errors), CLOSED_LOOP).html()
    assert "script" not in Page(html).tags
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("samples", "campaign", "outcome", "headline"),
    [
        (make_samples(STARTS), OPEN_LOOP, "inconclusive", "The measurement has a defect"),
        (make_samples([]), CLOSED_LOOP, "inconclusive", "1 of 1 check had too little evidence"),
        (make_samples(STARTS, error=["no response"] * 50), CLOSED_LOOP, "fail", "1 of 1 check failed."),
        (make_samples(STARTS), CLOSED_LOOP, "pass", "1 check passed."),
    ],
)
def test_page_begins_with_the_verdict_in_words(
    samples: Samples, campaign: Campaign, outcome: str, headline: str
) -> None:
    report = make_report(samples, campaign)
    html = report.html()
    assert f"<h1>Load test of stub: <b>{outcome}</b></h1>" in html
    header = Page(html[html.index("<header") : html.index("</header>")]).text
    assert headline in header
    for reason in report.verdict.reasons:
        assert reason in header


def test_page_lists_causes_before_symptoms() -> None:
    report = make_scaling_report("fail")
    assert [(check.name, check.outcome) for check in report.checks] == [
        ("reaction_seconds", "fail"),
        ("recovery_seconds", "fail"),
        ("p99_ms", "fail"),
        ("failure_ratio", "fail"),
        ("limited_seconds", "pass"),
        ("most_replicas", "pass"),
    ]
    html = report.html()
    places = [html.index(f"<b>{check.label}</b>".replace("'", "&#39;")) for check in report.checks[:4]]
    assert places == sorted(places)


@pytest.mark.parametrize("outcome", ["pass", "fail", "inconclusive"])
def test_page_of_a_scaling_campaign_shows_its_steps(outcome: str) -> None:
    report = make_scaling_report(outcome)  # type: ignore[arg-type]
    assert report.verdict.outcome == outcome
    text = Page(report.html()).text
    assert "100 → 200" in text
    assert "Ready replicas" in text


def test_page_of_the_same_samples_is_the_same() -> None:
    assert make_scaling_report("pass").html() == make_scaling_report("pass").html()


def test_document_is_json_with_metrics_and_checks() -> None:
    samples = make_samples(STARTS, error=["", "no response"] + [""] * 48)
    document = json.loads(json.dumps(make_report(samples, CLOSED_LOOP).document, allow_nan=False))
    assert document["version"] == VERSION == 1
    assert document["started_at"] == "2026-01-01T00:00:00+00:00"
    assert (document["requests"], document["failures"], document["goodput"]) == (50, 1, 49 / 5)
    percentiles = {"p50_ms", "p95_ms", "p99_ms", "max_ms"}
    for metric in ("latency", "service_time", "latency_without_send_delay"):
        assert document[metric].keys() == percentiles
    assert document["campaign"]["phases"][0]["load"] == {"model": "closed", "users": 3}
    assert document["checks"] == [
        {
            "name": "failure_ratio",
            "phase": "main",
            "value": 0.02,
            "threshold": 0.0,
            "bound": "max",
            "outcome": "fail",
            "mark_seconds": 0.5,
            "detail": "most often 'no response'",
        }
    ]
    assert (document["verdict"], document["passed"]) == ("fail", False)
    assert document["reasons"] == [
        "failure ratio in phase 'main': expected at most 0 %, measured 2 %: most often 'no response'"
    ]
    assert document["errors"] == [{"error": "no response", "count": 1}]
    assert document["generator"]["utilization_mean"] == 0.25
    assert (document["workers"], document["load_steps"], document["timeline"]) == ([], [], None)


def test_document_describes_phases_steps_and_timeline() -> None:
    document = json.loads(json.dumps(make_scaling_report("inconclusive").document, allow_nan=False))
    assert [
        (phase["name"], phase["judged"], phase["start"], phase["end"]) for phase in document["phases"]
    ] == [
        ("warm-up", False, 0, 10),
        ("step", True, 10, 130),
    ]
    assert [phase["requests"] for phase in document["phases"]] == [1000, 18_000]
    assert document["requests"] == 18_000
    assert document["phases"][1]["late"] == {"p99_ms": 0}
    assert document["load_steps"] == [
        {
            "phase": "step",
            "time": 70,
            "end": 130,
            "rate_before": 100,
            "rate_after": 200,
            "desired_before": 1,
            "desired_after": 2,
            "required": 2,
            "needed": True,
            "reaction_seconds": 15,
            "ready_seconds": 25,
            "recovery_seconds": 0,
        }
    ]
    assert document["timeline"] == {
        "ready_replicas": {"least": 1, "most": 2, "final": 2},
        "desired_replicas": {"least": 1, "most": 2, "final": 2},
        "replica_seconds": 85 + 2 * 45,
        "terminated_pods": 0,
        "gaps": [{"resource": "pods", "start": 80, "end": 90, "reason": "the watch expired"}],
    }


def test_document_has_no_value_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret-of-the-environment")
    campaign = make_campaign(target={"headers": {"Authorization": "Bearer ${TOKEN}"}})
    report = make_report(simulate(campaign), campaign)
    assert "secret-of-the-environment" not in json.dumps(report.document) + report.html()
    assert report.document["campaign"]["target"]["headers"] == {"Authorization": "Bearer ${TOKEN}"}


def test_report_names_each_worker_and_shows_the_busiest() -> None:
    workers = tuple(
        replace(
            GENERATOR,
            pinned_cpu=None,
            utilization_mean=utilization,
            worker=f"worker {index} on pod-{index}",
            start_skew_ms=2.5,
        )
        for index, utilization in enumerate((0.25, 0.5))
    )
    report = make_report(make_samples(STARTS), CLOSED_LOOP, generators=workers)
    assert report.document["generator"]["utilization_mean"] == 0.5
    assert [worker["worker"] for worker in report.document["workers"]] == [
        "worker 0 on pod-0",
        "worker 1 on pod-1",
    ]
    html = report.html()
    assert "from 2 workers" in html
    assert "worker 1 on pod-1" in html
    assert "start skew at most 2.5 ms" in html

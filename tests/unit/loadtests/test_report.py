# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.unit.loadtests.test_summary import make_samples
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.report import Report
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.summary import summarise
from tidegate_loadtests.verdict import judge

PLAN = LoadTest(
    rate=10,
    connections=2,
    duration=5,
    warmup=1,
    thresholds={"max_p50_ms": 100, "min_goodput": 5},
    protocols={"v1": 1, "v2": 1},
)
CLOSED_LOOP = LoadTest(users=3, duration=5)
GENERATOR = Generator(
    pinned_cpu=1, utilization_mean=0.25, utilization_max=0.5, run_queue_wait_mean=0.1, saturated_ratio=0.0
)
STARTS = [-0.5, *(index / 10 for index in range(50))]


def make_report(
    samples: Samples, plan: LoadTest = PLAN, generators: tuple[Generator, ...] = (GENERATOR,)
) -> Report:
    summary = summarise(samples, plan.duration)
    return Report(
        model="stub",
        digest="0" * 64,
        url="http://stub",
        started_at="2026-01-01",
        plan=plan,
        samples=samples,
        summary=summary,
        generators=generators,
        verdict=judge(plan, summary, generators),
    )


class Page(HTMLParser):
    """The tags of a page and the addresses that it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [
            value or ""
            for name, value in attributes
            if name in ("href", "src", "xlink:href", "data", "action")
        ]


def test_page_runs_and_loads_nothing() -> None:
    html = make_report(make_samples(STARTS)).html()
    page = Page(html)
    assert page.tags.isdisjoint({"script", "link", "iframe", "img", "object"})
    assert "svg" in page.tags
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"@import|url\((?!#)", html)
    assert re.findall(r"https?://[^\s<\"]+", html) == ["http://stub"]


def test_page_escapes_the_text_of_the_server() -> None:
    errors = ["status 500: <script>alert(1)</script>"] * len(STARTS)
    html = make_report(make_samples(STARTS, error=errors)).html()
    assert "script" not in Page(html).tags
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("samples", "plan", "outcome"),
    [
        (make_samples(STARTS), PLAN, "inconclusive"),
        (make_samples([]), PLAN, "inconclusive"),
        (make_samples(STARTS, error=["no response"] * len(STARTS)), CLOSED_LOOP, "fail"),
        (make_samples(STARTS), CLOSED_LOOP, "pass"),
    ],
)
def test_page_shows_each_verdict(samples: Samples, plan: LoadTest, outcome: str) -> None:
    assert f"<h1>Load test of stub: <b>{outcome}</b></h1>" in make_report(samples, plan).html()


def test_page_of_the_same_samples_is_the_same() -> None:
    assert make_report(make_samples(STARTS)).html() == make_report(make_samples(STARTS)).html()


def test_document_is_json_with_metrics_and_thresholds() -> None:
    samples = make_samples(STARTS, error=["", "no response"] + [""] * 49)
    report = make_report(samples, LoadTest(users=1, duration=5))
    document = json.loads(json.dumps(report.document, allow_nan=False))
    assert document["started_at"] == "2026-01-01"
    assert (document["requests"], document["failures"], document["goodput"]) == (50, 1, 49 / 5)
    percentiles = {"p50_ms", "p95_ms", "p99_ms", "max_ms"}
    for metric in ("latency", "service_time", "latency_without_send_delay"):
        assert document[metric].keys() == percentiles
    assert document["send_delay_p99_ms"] == 0
    assert document["plan"] | {"users": 1, "duration": 5} == document["plan"]
    assert document["thresholds"] == [
        {"metric": "failure_ratio", "value": 0.02, "threshold": 0.0, "bound": "max", "met": False}
    ]
    assert (document["verdict"], document["passed"]) == ("fail", False)
    assert document["errors"] == [{"error": "no response", "count": 1}]
    assert document["generator"]["utilization_mean"] == 0.25
    assert document["workers"] == []


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
    report = make_report(make_samples(STARTS), LoadTest(users=2, duration=5), workers)
    assert report.document["generator"]["utilization_mean"] == 0.5
    assert [worker["worker"] for worker in report.document["workers"]] == [
        "worker 0 on pod-0",
        "worker 1 on pod-1",
    ]
    html = report.html()
    assert "from 2 workers" in html
    assert "worker 1 on pod-1" in html
    assert "start skew at most 2.5 ms" in html

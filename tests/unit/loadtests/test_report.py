# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.report import Report
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.summary import summarise
from tidegate_loadtests.verdict import judge

from tests.unit.loadtests.test_summary import make_samples

PLAN = LoadTest(
    rate=10,
    connections=2,
    duration=5,
    warmup=1,
    objective={"p50_ms": 100, "rps": 5},
    protocols={"v1": 1, "v2": 1},
)
GENERATOR = Generator(core=1, cpu_mean=0.25, cpu_peak=0.5, wait_mean=0.1, saturated_share=0.0)
INTENDED = [-0.5, *(index / 10 for index in range(50))]


def report(
    samples: Samples, plan: LoadTest = PLAN, generators: tuple[Generator, ...] = (GENERATOR,)
) -> Report:
    summary = summarise(samples, plan.duration)
    verdict = judge(plan, summary, generators)
    return Report("stub", "0" * 64, "http://stub", "2026-01-01", plan, samples, summary, generators, verdict)


class Page(HTMLParser):
    """Collects what a page would fetch or run."""

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


def test_the_page_is_one_file_that_runs_and_fetches_nothing() -> None:
    html = report(make_samples(INTENDED)).html()
    page = Page(html)
    assert page.tags.isdisjoint({"script", "link", "iframe", "img", "object"})
    assert "svg" in page.tags
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"@import|url\((?!#)", html)
    assert re.findall(r"https?://[^\s<\"]+", html) == ["http://stub"]


def test_plots_take_their_colours_from_the_page() -> None:
    html = report(make_samples(INTENDED)).html()
    drawings = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert "var(--blue)" in drawings
    assert set(re.findall(r"#0\d0\d0\d\b", drawings)) == set()


def test_what_a_server_said_is_text_and_never_markup() -> None:
    errors = ["status 500: <script>alert(1)</script>"] * len(INTENDED)
    html = report(make_samples(INTENDED, error=errors)).html()
    assert "script" not in Page(html).tags
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("samples", "plan", "verdict"),
    [
        (make_samples(INTENDED), PLAN, "void"),
        (make_samples([]), PLAN, "void"),
        (make_samples(INTENDED, error=["no answer"] * len(INTENDED)), LoadTest(users=3, duration=5), "fail"),
        (make_samples(INTENDED), LoadTest(users=3, duration=5), "pass"),
    ],
)
def test_every_verdict_has_a_page(samples: Samples, plan: LoadTest, verdict: str) -> None:
    assert f"<h1>Load test of stub: <b>{verdict}</b></h1>" in report(samples, plan).html()


def test_the_same_figures_make_the_same_page() -> None:
    assert report(make_samples(INTENDED)).html() == report(make_samples(INTENDED)).html()


def test_the_summary_document_is_json_with_the_figures_that_scripts_read() -> None:
    samples = make_samples(INTENDED, error=["", "no answer"] + [""] * 49)
    document = json.loads(
        json.dumps(report(samples, LoadTest(users=1, duration=5)).document, allow_nan=False)
    )
    assert (document["requests"], document["failures"], document["rps"]) == (50, 1, 49 / 5)
    assert {"p50_ms", "p95_ms", "p99_ms", "service", "settings"} <= document.keys()
    assert document["objective"] == [
        {"name": "failure_ratio", "limit": 0.0, "bound": "at most", "measured": 0.02, "met": False}
    ]
    assert (document["verdict"], document["objective_met"]) == ("fail", False)
    assert document["errors"] == [{"error": "no answer", "count": 1}]
    assert document["generator"]["cpu_mean"] == 0.25
    assert document["workers"] == []


def test_the_report_of_several_workers_names_each_and_counts_the_busiest() -> None:
    workers = tuple(
        replace(
            GENERATOR, core=None, cpu_mean=cpu, worker=f"worker {index} on pod-{index}", began_within_ms=2.5
        )
        for index, cpu in enumerate((0.25, 0.5))
    )
    made = report(make_samples(INTENDED), LoadTest(users=2, duration=5), workers)
    assert made.document["generator"]["cpu_mean"] == 0.5
    assert [worker["worker"] for worker in made.document["workers"]] == [
        "worker 0 on pod-0",
        "worker 1 on pod-1",
    ]
    html = made.html()
    assert "from 2 workers" in html
    assert "worker 1 on pod-1" in html
    assert "began within 2.5 ms" in html

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.support.campaigns import make_campaign, make_phase
from tests.support.reports import make_report, make_scaling_report, simulate
from tests.support.samples import make_samples
from tidegate.charts import to_svg
from tidegate_loadtests.checks import CheckResult
from tidegate_loadtests.plots import plot_campaign, plot_distribution, to_captioned_png
from tidegate_loadtests.report import Report
from tidegate_loadtests.samples import Samples

PLAIN = make_campaign(make_phase(thresholds={"max_p50_ms": 100}))
STARTS = np.arange(2000) / 100


def draw(report: Report) -> str:
    return to_svg(plot_campaign(report.campaign, report.summary.series, report.checks, report.timeline))


def texts(svg: str) -> list[str]:
    """Return the text of a plot in its order."""
    # HTML ignores the prefix of links, and XML does not.
    root = ElementTree.fromstring(svg.replace("xlink:", ""))
    return ["".join(element.itertext()).strip() for element in root.iter("text")]


def test_plots_take_their_colours_from_the_page() -> None:
    report = make_scaling_report("fail")
    drawings = draw(report) + to_svg(plot_distribution(report.summary.latency, report.summary.service_time))
    assert "var(--blue)" in drawings
    assert set(re.findall(r"#0\d0\d0\d\b", drawings)) == set()
    assert "font-family" not in drawings
    assert "DejaVu" not in drawings


@pytest.mark.parametrize("samples", [make_samples([]), make_samples(STARTS, error=["failed"] * len(STARTS))])
def test_plots_without_successful_responses_are_drawn(samples: Samples) -> None:
    report = make_report(samples, PLAIN)
    for drawing in (draw(report), to_svg(plot_distribution(report.summary.latency, report.summary.latency))):
        assert drawing.startswith("<svg")
        assert drawing.rstrip().endswith("</svg>")


def test_plot_of_a_campaign_shows_phases_thresholds_and_replicas() -> None:
    shown = texts(draw(make_scaling_report("pass")))
    for text in (
        "warm-up (not judged)",
        "step",
        "intended rate",
        "p99 threshold 250 ms",
        "desired replicas",
        "ready replicas",
        "no failures",
        "seconds from the start of the campaign",
    ):
        assert text in shown
    assert "gap in the timeline" not in shown


def test_plot_without_a_timeline_has_no_panel_of_replicas() -> None:
    shown = texts(draw(make_report(simulate(PLAIN), PLAIN)))
    assert "replicas" not in shown
    assert "latency, ms" in shown


def test_plot_shows_a_gap_of_the_timeline() -> None:
    assert "gap in the timeline" in texts(draw(make_scaling_report("inconclusive")))


def test_plot_of_a_long_campaign_counts_in_minutes() -> None:
    campaign = make_campaign(make_phase(rate=2, duration=3600, thresholds={"max_p50_ms": 100}))
    shown = texts(draw(make_report(simulate(campaign), campaign)))
    assert "minutes from the start of the campaign" in shown
    assert "60" in shown


def test_plot_numbers_the_checks_that_have_a_mark() -> None:
    report = make_report(simulate(PLAIN), PLAIN)
    series = report.summary.series
    before = texts(to_svg(plot_campaign(PLAIN, series, [], None)))
    checks = [
        CheckResult("goodput", 1.0, 2.0, "min", "fail", "main", mark_seconds=3.0),
        CheckResult("failure_ratio", 0.0, 0.0, "max", "pass", "main"),
        CheckResult("p50_ms", 9.0, 8.0, "max", "fail", "main", mark_seconds=3.1),
        CheckResult("reaction_seconds", 9.0, 8.0, "max", "pass", mark_seconds=5.0),
    ]
    after = texts(to_svg(plot_campaign(PLAIN, series, checks, None)))
    for text in before:
        after.remove(text)
    assert sorted(after) == ["1", "3", "4"]


def test_png_has_its_captions_and_no_line_of_them_is_cut() -> None:
    def draw_captions(figure: Figure, _: object) -> None:
        figures.append(figure)

    figures: list[Figure] = []
    to_captioned_png(draw_captions, ["stub: fail. 1 of 2 checks failed.", "1  " + "word " * 60, "2  short"])
    (figure,) = figures
    assert figure.get_suptitle() == "stub: fail. 1 of 2 checks failed."
    lines = figure.get_supxlabel().splitlines()
    assert lines[-1] == "2  short"
    assert " ".join(lines).count("word") == 60
    assert max(map(len, lines)) <= 120


def test_png_is_a_picture_of_the_same_plot() -> None:
    picture = make_scaling_report("fail").png()
    assert picture.startswith(b"\x89PNG\r\n")
    assert picture == make_scaling_report("fail").png()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import re

from tests.support.bundles import contract
from tidegate.charts import render_svg
from tidegate_training.config import ModelCard
from tidegate_training.evaluation.breakdown import Breakdown, Group
from tidegate_training.evaluation.dummy import DummyComparison
from tidegate_training.evaluation.estimates import Estimates
from tidegate_training.evaluation.evaluation import Evaluation
from tidegate_training.evaluation.intervals import Interval
from tidegate_training.evaluation.plots import plot_intervals
from tidegate_training.model_card import CardContext
from tidegate_training.report import render_report

INTERVAL = Interval(0.3, 0.7, "wilson")
METRICS = {split: {"f1": 0.5, "roc_auc": None} for split in ("train", "test")}
EVALUATION = Evaluation(
    METRICS,
    {"train": 6000, "test": 20},
    {},
    positive_label="yes",
    gap={"f1": 0.0, "roc_auc": None},
    warnings=["ConvergenceWarning: a < b"],
    intervals={"test": {"f1": INTERVAL, "roc_auc": None}},
    dummy=DummyComparison(
        "most frequent class", METRICS["test"], METRICS["test"], {"f1": None, "roc_auc": None}, "Dummy."
    ),
    breakdown=Breakdown(groups=(Group("town", "<b>Bonn</b>", Estimates(12, {"f1": 0.5}, {"f1": INTERVAL})),)),
)


def render() -> str:
    draw = plot_intervals(EVALUATION)
    assert draw is not None
    context = CardContext(ModelCard(), "Ridge", {"alpha": 2}, "loans.csv, 100 rows.")
    return render_report(contract(), context, EVALUATION, {"intervals": render_svg(draw)})


def test_render_report_is_one_page_of_metrics_and_plots() -> None:
    page = render()
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    for part in ("6,000 train rows", "F1 (test)", "0.3 to 0.7", "Dummy.", "Groups by town", "Ridge(alpha=2)"):
        assert part in text
    assert "<svg" in page
    assert not re.findall(r"<script|<link|src=|href=\"http", page)


def test_render_report_escapes_values_of_the_data() -> None:
    page = render()
    assert "&lt;b&gt;Bonn&lt;/b&gt;" in page
    assert "a &lt; b" in page


def test_render_report_is_the_same_each_time() -> None:
    assert render() == render()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import re
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np

from tidegate.charts import Draw, render_svg
from tidegate_training.evaluation.breakdown import CalibrationBin, Group
from tidegate_training.evaluation.estimates import Estimates
from tidegate_training.evaluation.evaluation import Evaluation
from tidegate_training.evaluation.intervals import Interval
from tidegate_training.evaluation.plots import (
    plot_calibration,
    plot_classification,
    plot_groups,
    plot_intervals,
    plot_predictions,
)

TARGET = np.array(["no", "yes", "no", "yes"])
OUTPUTS = {
    "label": np.array(["no", "yes", "yes", "yes"], dtype=object),
    "probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]]),
}
INTERVAL = Interval(0.4, 0.9, "wilson")


def texts(draw: Draw) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", render_svg(draw))


def render(plots: Mapping[str, Draw]) -> dict[str, str]:
    return {name: render_svg(draw) for name, draw in plots.items()}


def test_plot_classification_counts_each_cell_and_names_the_class() -> None:
    plots = plot_classification(TARGET, OUTPUTS, ["no", "yes"], "yes")
    assert list(plots) == ["confusion", "roc", "precision_recall"]
    assert {"0", "1", "2", "Confusion matrix (test rows)"} <= set(texts(plots["confusion"]))
    assert "yes" in texts(plots["roc"])


def test_plot_confusion_of_many_classes_draws_used_cells_only() -> None:
    labels = [f"c{index}" for index in range(100)]
    outputs = {"label": np.array(labels[1:] + labels[:1], dtype=object)}
    svg = render_svg(plot_classification(np.array(labels), outputs, labels, None)["confusion"])
    assert svg.count("fill-opacity: 0.8") == len(labels)
    assert len(svg) < 100_000


def test_plot_classification_of_one_class_has_no_curve() -> None:
    outputs = {name: values[:1] for name, values in OUTPUTS.items()}
    plots = plot_classification(TARGET[:1], outputs, ["no", "yes"], "yes")
    assert "yes" not in texts(plots["roc"])


def test_plot_classification_weights_change_the_curve() -> None:
    target = TARGET[[0, 1, 3, 2]]
    plots = render(plot_classification(target, OUTPUTS, ["no", "yes"], "yes"))
    weights = np.array([1.0, 3.0, 2.0, 1.0])
    weighted = render(plot_classification(target, OUTPUTS, ["no", "yes"], "yes", weights=weights))
    assert weighted["confusion"] == plots["confusion"]
    assert weighted["roc"] != plots["roc"]


def test_plots_ignore_the_user_s_style() -> None:
    draw = plot_predictions(np.array([1.0, 2.0]), {"prediction": np.array([1.0, 2.5])})
    plot = render_svg(draw)
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30}):
        assert render_svg(draw) == plot


def test_plot_calibration_shows_the_rows_of_each_bin() -> None:
    bins = [CalibrationBin(1200, 0.1, 0.12, INTERVAL), CalibrationBin(7, 0.9, 0.8, None)]
    assert {"1,200", "7"} <= set(texts(plot_calibration(bins)))


def test_plot_groups_has_a_row_per_group() -> None:
    estimates = Estimates(20, {"recall": 0.5, "f1": None}, {"recall": INTERVAL})
    shown = texts(plot_groups([Group("age", name, estimates) for name in ("below 30", "from 30")]))
    assert {"age: below 30", "age: from 30", "recall"} <= set(shown)


def test_plot_intervals_of_values_beyond_one_is_none() -> None:
    evaluation = Evaluation({"test": {"rmse": 20.0, "r2": None}}, {"test": 10}, {})
    assert plot_intervals(evaluation) is None


def test_plot_classification_draws_the_positive_class() -> None:
    target = TARGET[[0, 1, 3, 2]]
    no, yes = (render(plot_classification(target, OUTPUTS, ["no", "yes"], label)) for label in ("no", "yes"))
    assert yes["roc"] != no["roc"]
    assert yes["confusion"] == no["confusion"]

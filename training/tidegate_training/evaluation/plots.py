# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of an evaluation: of a model's outputs on rows with true values, and of its metrics with intervals.

Each plot is a pure function of its data, rendered once for the model card and the report. Every
process writes the same bytes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tidegate.charts import Colours, Draw
from tidegate.contract import Sensitivity
from tidegate.outputs import LABEL, PREDICTION
from tidegate_training.bundling.features import Indices
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.evaluation.breakdown import CalibrationBin, Group, shown_metrics
from tidegate_training.evaluation.diagnosis import CurvePoint, Diagnosis
from tidegate_training.evaluation.evaluation import Evaluation
from tidegate_training.evaluation.metrics import class_codes, class_scores, curve_points
from tidegate_training.evaluation.overfitting import METRIC_NAMES

Array = NDArray[Any]
Floats = NDArray[np.float64]

MAX_POINTS = 2_000
"""Largest number of points of a plot with one point per row."""
_SIZE = (4.6, 4.0)
_WIDTH = 7.0
_MAX_NUMBERED_CLASSES = 12
_SERIES = ("blue", "amber", "teal", "red", "muted")


def plot_evaluation(model: FittedModel, evaluation: Evaluation) -> dict[str, Draw]:
    """Return the plots of a model's evaluation by name; none without true values.

    Args:
        model: The model, which decides the plots by its task.
        evaluation: The evaluation, whose last split is that of the model's test rows.
    """
    if model.target is None or model.target.ndim == 2:
        return {}
    rows, split = model.test, evaluation.split
    target, outputs = model.target[rows], evaluation.outputs[split]
    plots: dict[str, Draw] = {}
    if (intervals := plot_intervals(evaluation)) is not None:
        plots["intervals"] = intervals
    # A point per row would show true values, which are as sensitive as the features.
    is_restricted = all(policy.sensitivity is Sensitivity.RESTRICTED for policy in model.policies.values())
    if (
        model.task == "regression"
        and outputs[PREDICTION].ndim == 1
        and not (model.policies and is_restricted)
    ):
        plots["predicted"] = plot_predictions(target, outputs, split)
    if model.task == "classification":
        weights = None if model.weights is None else model.weights[rows]
        plots |= plot_classification(
            target, outputs, model.labels, evaluation.positive_label, weights=weights, split=split
        )
    if evaluation.diagnosis is not None:
        plots |= plot_diagnosis(evaluation.diagnosis)
    if evaluation.breakdown.calibration:
        plots["calibration"] = plot_calibration(evaluation.breakdown.calibration, split)
    if shown_metrics(evaluation.breakdown.groups):
        plots["groups"] = plot_groups(evaluation.breakdown.groups)
    return plots


def plot_classification(
    target: Array,
    outputs: Mapping[str, Array],
    labels: Sequence[Any],
    positive_label: Any = None,
    *,
    weights: Array | None = None,
    split: str = "test",
) -> dict[str, Draw]:
    """Plot the confusion matrix, and the ROC and precision-recall curves of the positive class, or of each.

    Args:
        target: ``[rows]``, the true classes.
        outputs: By output, ``[rows]`` or ``[rows, width]``: the model's outputs.
        labels: All classes, in the order of the score columns.
        positive_label: The class, of two, that the curves are about.
        weights: ``[rows]``, how much each row counts in the curves. The confusion matrix counts rows.
        split: The name of the rows, for the titles.
    """
    actual = class_codes(target, labels)
    plots = {"confusion": _confusion(actual, class_codes(outputs[LABEL], labels), labels, split)}
    scores = class_scores(outputs, labels)
    if scores is None:
        return plots
    shown = range(len(labels)) if len(labels) != 2 else [list(labels).index(positive_label)]
    counted = np.ones(len(actual)) if weights is None else np.asarray(weights, np.float64)
    curves = {
        str(labels[code]): curve_points(actual == code, scores[:, code], counted)
        for code in shown
        if 0 < counted[actual == code].sum() < counted.sum()
    }

    def draw_roc(figure: Figure, colours: Colours) -> None:
        axes = _square(figure, f"ROC curve ({split} rows)", "false positive rate", "true positive rate")
        axes.plot([0, 1], [0, 1], color=colours["muted"], linestyle=":", lw=1)
        for index, (name, curve) in enumerate(curves.items()):
            axes.plot(
                curve.false_positive_rate, curve.recall, label=name, color=_color(colours, index), lw=1.8
            )
        _legend(axes, colours, len(curves))

    def draw_precision_recall(figure: Figure, colours: Colours) -> None:
        axes = _square(figure, f"Precision-recall curve ({split} rows)", "recall", "precision")
        for index, (name, curve) in enumerate(curves.items()):
            color = _color(colours, index)
            axes.step(curve.recall, curve.precision, where="pre", label=name, color=color, lw=1.8)
            axes.axhline(curve.prevalence, color=color, linestyle=":", lw=1)
        _legend(axes, colours, len(curves))

    return plots | {"roc": draw_roc, "precision_recall": draw_precision_recall}


def plot_predictions(target: Array, outputs: Mapping[str, Array], split: str = "test") -> Draw:
    """Plot predicted against actual values.

    Args:
        target: ``[rows]``, the true values.
        outputs: By output, ``[rows]``: the model's outputs.
        split: The name of the rows, for the title.
    """
    step = max(1, -(-len(target) // MAX_POINTS))
    actual, predicted = target[::step], outputs[PREDICTION][::step].astype(np.float64)

    def draw(figure: Figure, colours: Colours) -> None:
        axes = _axes(figure)
        limits = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
        axes.plot(limits, limits, color=colours["muted"], linestyle=":", lw=1)
        axes.plot(actual, predicted, "o", ms=4, mew=0, color=colours["blue"], alpha=0.55)
        axes.set(xlabel="actual", ylabel="predicted", title=f"Predicted and actual values ({split} rows)")

    return draw


def plot_calibration(bins: Sequence[CalibrationBin], split: str = "test") -> Draw:
    """Plot the reliability curve: the observed frequency against the predicted probability.

    Args:
        bins: The bins that have rows.
        split: The name of the rows, for the title.
    """

    def draw(figure: Figure, colours: Colours) -> None:
        axes = _square(figure, f"Calibration ({split} rows)", "predicted probability", "observed frequency")
        axes.plot([0, 1], [0, 1], color=colours["muted"], linestyle=":", lw=1)
        for bin_ in bins:
            if bin_.interval is not None:
                ends = [bin_.interval.low, bin_.interval.high]
                axes.plot([bin_.predicted] * 2, ends, color=colours["blue"], alpha=0.45, lw=2)
            axes.annotate(
                f"{bin_.rows:,}",
                (bin_.predicted, bin_.observed),
                xytext=(5, 5 if bin_.observed < 0.1 else -9),
                textcoords="offset points",
                fontsize=8,
                color=colours["muted"],
            )
        axes.plot(
            [bin_.predicted for bin_ in bins],
            [bin_.observed for bin_ in bins],
            "o-",
            color=colours["blue"],
            ms=5,
            lw=1.2,
        )

    return draw


def plot_diagnosis(diagnosis: Diagnosis) -> dict[str, Draw]:
    """Plot the curves of a diagnosis by the names under which findings refer to them."""
    metric = METRIC_NAMES[diagnosis.metric]
    curves: dict[str, tuple[str, Mapping[str, Sequence[CurvePoint]]]] = {
        "learning_curve": ("Learning curve: rows to fit on", {"": diagnosis.learning}),
        "regularization": (f"Regularization: {diagnosis.parameter}", diagnosis.regularization),
        "simpler_models": ("Simpler models", {"": diagnosis.models}),
    }
    return {
        name: _curve(title, metric, series, apart=name == "simpler_models")
        for name, (title, series) in curves.items()
        if series
    }


def _curve(
    title: str, metric: str, series: Mapping[str, Sequence[CurvePoint]], *, apart: bool = False
) -> Draw:
    """Plot the metric of fitted rows and of held-out rows, with standard errors, by setting.

    Args:
        title: The plot's title.
        metric: The metric's name.
        series: The points by the name of their line.
        apart: Whether the settings have no order, so that no line joins them.
    """

    def draw(figure: Figure, colours: Colours) -> None:
        axes = _axes(figure)
        for index, (name, points) in enumerate(series.items()):
            color, places = _color(colours, index), range(len(points))
            prefix = f"{name}, " if name else ""
            train = [float(np.mean(point.train)) for point in points]
            axes.plot(
                places,
                train,
                f"o{'' if apart else ':'}",
                color=color,
                ms=3,
                lw=1,
                label=f"{prefix}fitted rows",
            )
            axes.errorbar(
                places,
                [point.mean for point in points],
                [point.standard_error for point in points],
                fmt="o" if apart else "o-",
                color=color,
                ms=4,
                lw=1.5,
                label=f"{prefix}held-out rows",
            )
        labels = [
            f"{p.label:,}" if isinstance(p.label, int) else str(p.label) for p in next(iter(series.values()))
        ]
        long = max(map(len, labels)) > 8
        axes.set_xticks(range(len(labels)), labels, fontsize=7 if long else 9)
        axes.set(title=title, ylabel=metric, xlim=(-0.5, len(labels) - 0.5))
        axes.legend(labelcolor=colours["muted"], fontsize=8)

    return draw


def plot_groups(groups: Sequence[Group]) -> Draw:
    """Plot the metrics of each group with their intervals."""
    shown = shown_metrics(groups)[:3]

    def draw(figure: Figure, colours: Colours) -> None:
        figure.set_size_inches(_WIDTH, 1.1 + 0.3 * len(groups))
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        names = [f"{group.column}: {group.name}" for group in groups]
        for axes, metric in zip(panels, shown, strict=True):
            for row, group in enumerate(groups):
                value, interval = group.estimates.metrics.get(metric), group.estimates.intervals.get(metric)
                if value is None:
                    continue
                if interval is not None:
                    axes.plot(
                        [interval.low, interval.high], [row, row], color=colours["blue"], alpha=0.45, lw=3
                    )
                axes.plot([value], [row], "o", color=colours["blue"], ms=5)
            axes.set_title(metric.replace("_", " "), fontsize=10)
            axes.grid(axis="x")
            axes.grid(visible=False, axis="y")
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.4, -0.6)

    return draw


def plot_intervals(evaluation: Evaluation) -> Draw | None:
    """Plot the metrics between 0 and 1 with their intervals, next to the dummy model's; None without any."""
    split = evaluation.split
    metrics, intervals = evaluation.metrics[split], evaluation.intervals.get(split, {})
    dummy = None if evaluation.dummy is None else evaluation.dummy.metrics
    shown = {name: value for name, value in metrics.items() if value is not None and 0 <= value <= 1}
    if not shown:
        return None

    def draw(figure: Figure, colours: Colours) -> None:
        height = 1.0 + 0.3 * len(shown)
        figure.set_layout_engine("none")
        figure.set_size_inches(_WIDTH, height)
        axes = figure.add_axes((0.19, 0.35 / height, 0.78, 1 - 0.75 / height))
        for row, (name, model_value) in enumerate(shown.items()):
            interval = intervals.get(name)
            if interval is not None:
                axes.plot([interval.low, interval.high], [row, row], color=colours["blue"], alpha=0.45, lw=4)
            axes.plot([model_value], [row], "o", color=colours["blue"], ms=6, label=None if row else "model")
            value = None if dummy is None else dummy.get(name)
            if value is not None:
                axes.plot(
                    [value], [row], "D", color=colours["amber"], ms=5, label=None if row else "dummy model"
                )
        axes.set_yticks(range(len(shown)), [name.replace("_", " ") for name in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_title(f"95 % intervals ({split} rows)", loc="left")
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 0.99), ncols=2, labelcolor=colours["muted"], fontsize=9
        )

    return draw


def _confusion(actual: Indices, predicted: Indices, labels: Sequence[Any], split: str) -> Draw:
    counts = np.zeros((len(labels), len(labels)), np.intp)
    np.add.at(counts, (actual, predicted), 1)
    ratios = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def draw(figure: Figure, colours: Colours) -> None:
        figure.set_size_inches(_SIZE)
        axes = figure.subplots()
        axes.grid(visible=False)
        # A cell is as opaque as its fraction of the row, so that it follows the colours of the theme. The
        # cells are one collection without empty ones: of 100 classes, single cells would take a minute.
        axes.set_facecolor(to_rgba(colours["blue"], 0.04))
        rows, columns = np.nonzero(counts)
        corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
        cells = np.stack([columns, rows], axis=1)[:, None] + corners
        fills = [to_rgba(colours["blue"], 0.8 * float(ratio)) for ratio in ratios[rows, columns]]
        axes.add_collection(PolyCollection(cells, facecolors=fills, linewidths=0), autolim=False)
        if len(labels) <= _MAX_NUMBERED_CLASSES:
            for (row, column), ratio in np.ndenumerate(ratios):
                color = colours["card"] if ratio > 0.5 else colours["ink"]
                axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color)
        names = [str(label) for label in labels]
        named = range(0, len(names), math.ceil(len(names) / _MAX_NUMBERED_CLASSES))
        axes.set_xticks(named, [names[index] for index in named], rotation=45 if len(names) > 4 else 0)
        axes.set_yticks(named, [names[index] for index in named])
        axes.set(
            xlim=(-0.5, len(names) - 0.5),
            ylim=(len(names) - 0.5, -0.5),
            xlabel="predicted",
            ylabel="actual",
            title=f"Confusion matrix ({split} rows)",
        )

    return draw


def _axes(figure: Figure) -> Any:
    """Return axes in a fixed place, which takes a fraction of the time of a layout by the labels' sizes."""
    figure.set_layout_engine("none")
    figure.set_size_inches(_SIZE)
    return figure.add_axes((0.14, 0.13, 0.83, 0.79))


def _square(figure: Figure, title: str, xlabel: str, ylabel: str) -> Any:
    axes = _axes(figure)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=title, xlabel=xlabel, ylabel=ylabel)
    return axes


def _legend(axes: Any, colours: Colours, n_curves: int) -> None:
    if 0 < n_curves <= _MAX_NUMBERED_CLASSES:  # rows of a single class have no curve
        axes.legend(labelcolor=colours["muted"], fontsize=9)


def _color(colours: Colours, index: int) -> str:
    return colours[_SERIES[index % len(_SERIES)]]

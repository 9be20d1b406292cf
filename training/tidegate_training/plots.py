# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of a model's outputs on rows with true values, as PNG files.

Style and size are fixed and no date is written, so every process writes the same bytes.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.outputs import LABEL, PREDICTION
from tidegate_training.bundling.features import Indices
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.evaluation import choose_positive_label, class_scores

Array = NDArray[Any]

_COLOR = "#1f4e79"


def plot_model(
    model: FittedModel, rows: Indices, outputs: Mapping[str, Array], split: str, positive_label: Any = None
) -> dict[str, bytes]:
    """Plot a model's outputs against true values; nothing without true values or with several targets.

    Args:
        model: The model, which decides the plots by its task.
        rows: The numbers of the rows, ``[rows]``.
        outputs: By output, ``[rows]`` or ``[rows, width]``: the model's outputs for these rows.
        split: The name of the rows, for the titles.
        positive_label: The class, of two, of the ROC curve; by default the second one.

    Returns:
        By name, the content of each file.
    """
    if model.target is None or model.target.ndim == 2:
        return {}
    target = model.target[rows]
    if model.task == "regression" and outputs[PREDICTION].ndim == 2:
        return {}
    if model.task == "regression":
        return plot_regression(target, outputs, split)
    if model.task == "classification":
        weights = None if model.weights is None else model.weights[rows]
        return plot_classification(target, outputs, list(model.labels), weights, split, positive_label)
    return {}


def plot_classification(
    target: Array,
    outputs: Mapping[str, Array],
    labels: list[Any],
    weights: Array | None = None,
    split: str = "test",
    positive_label: Any = None,
) -> dict[str, bytes]:
    """Plot the confusion matrix, and one ROC curve per class (one in all for two classes).

    Args:
        target: ``[rows]``, the true classes.
        outputs: By output, ``[rows]`` or ``[rows, width]``: the model's outputs.
        labels: All classes, in the order of the score columns.
        weights: ``[rows]``, how much each row counts in the ROC curve. The confusion matrix counts rows.
        split: The name of the rows, for the titles.
        positive_label: The class, of two, of the ROC curve; by default the second one.

    Returns:
        By name, the content of each file.
    """

    def draw_confusion(axes: Any) -> None:
        from sklearn.metrics import confusion_matrix

        counts = confusion_matrix(target, outputs[LABEL].astype(target.dtype), labels=labels)
        axes.imshow(counts, cmap="Blues")
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if count > counts.max() / 2 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color)
        names = [str(label) for label in labels]
        axes.set_xticks(range(len(names)), names, rotation=45 if len(names) > 4 else 0)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="predicted", ylabel="actual", title=f"Confusion matrix ({split} rows)")

    scores = class_scores(outputs, labels)

    def draw_roc(axes: Any) -> None:
        from sklearn.metrics import roc_curve

        assert scores is not None
        for label in [choose_positive_label(positive_label, labels)] if len(labels) == 2 else labels:
            actual = target == label
            counted = actual if weights is None else actual[weights > 0]
            if 0 < counted.sum() < len(counted):
                false_positives, true_positives, _ = roc_curve(
                    actual, scores[:, labels.index(label)], sample_weight=weights
                )
                axes.plot(false_positives, true_positives, label=str(label))
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC curve ({split} rows)")
        if axes.get_legend_handles_labels()[0]:  # test rows of a single class have no curve
            axes.legend()

    plots = {"plots/confusion.png": _render_png(draw_confusion)}
    return plots if scores is None else plots | {"plots/roc.png": _render_png(draw_roc)}


def plot_regression(target: Array, outputs: Mapping[str, Array], split: str = "test") -> dict[str, bytes]:
    """Plot predicted against actual values.

    Args:
        target: ``[rows]``, the true values.
        outputs: By output, ``[rows]``: the model's outputs.
        split: The name of the rows, for the title.

    Returns:
        By name, the content of the file.
    """

    def draw_predictions(axes: Any) -> None:
        predicted = outputs[PREDICTION].astype(np.float64)
        limits = [min(target.min(), predicted.min()), max(target.max(), predicted.max())]
        axes.scatter(target, predicted, s=12, color=_COLOR, alpha=0.6)
        axes.plot(limits, limits, color="grey", linestyle=":")
        axes.set(xlabel="actual", ylabel="predicted", title=f"Predicted and actual values ({split} rows)")

    return {"plots/predicted.png": _render_png(draw_predictions)}


def _render_png(draw: Callable[[Any], None]) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The user's matplotlibrc must not change the bundle. Setting a backend would open windows.
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context(defaults):
        figure = Figure(figsize=(5, 4.5), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

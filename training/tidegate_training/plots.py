# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of how a model does on the test part, as PNG.

They look the same in every process and folder, byte for byte: fixed style, fixed size, no date.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate_training.bundling.outputs import LABEL, PREDICTION
from tidegate_training.evaluation import class_scores

Array = NDArray[Any]

_INK = "#1f4e79"


def classification_plots(target: Array, answers: Mapping[str, Array], labels: list[Any]) -> dict[str, bytes]:
    """By file name, the confusion matrix and a ROC curve a class (of two classes the curves are one)."""

    def confusion(axes: Any) -> None:
        from sklearn.metrics import confusion_matrix

        counts = confusion_matrix(target, answers[LABEL].astype(target.dtype), labels=labels)
        axes.imshow(counts, cmap="Blues")
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if count > counts.max() / 2 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color)
        names = [str(label) for label in labels]
        axes.set_xticks(range(len(names)), names, rotation=45 if len(names) > 4 else 0)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="predicted", ylabel="actual", title="Confusion matrix, test part")

    def roc(axes: Any) -> None:
        from sklearn.metrics import roc_curve

        scores = class_scores(answers, labels)
        for index in range(1 if len(labels) == 2 else 0, len(labels)):
            actual = target == labels[index]
            if 0 < actual.sum() < len(actual):
                false, true, _ = roc_curve(actual, scores[:, index])
                axes.plot(false, true, label=str(labels[index]))
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC, test part")
        if axes.get_legend_handles_labels()[0]:  # a test part of one class has no curve
            axes.legend()

    return {"plots/confusion.png": _png(confusion), "plots/roc.png": _png(roc)}


def regression_plots(target: Array, answers: Mapping[str, Array]) -> dict[str, bytes]:
    """By file name, predicted against actual values."""

    def predicted(axes: Any) -> None:
        found = answers[PREDICTION].astype(np.float64)
        ends = [min(target.min(), found.min()), max(target.max(), found.max())]
        axes.scatter(target, found, s=12, color=_INK, alpha=0.6)
        axes.plot(ends, ends, color="grey", linestyle=":")
        axes.set(xlabel="actual", ylabel="predicted", title="Predicted against actual, test part")

    return {"plots/predicted.png": _png(predicted)}


def _png(draw: Callable[[Any], None]) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The user's matplotlibrc must not reach the bundle; backend is left out because setting it opens windows.
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context(defaults):
        figure = Figure(figsize=(5, 4.5), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

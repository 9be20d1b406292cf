# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import matplotlib as mpl
import numpy as np

from tidegate_training.plots import plot_classification, plot_regression

TARGET = np.array(["no", "yes", "no", "yes"])
OUTPUTS = {
    "label": np.array(["no", "yes", "yes", "yes"], dtype=object),
    "probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]]),
}
PNG_SIGNATURE = b"\x89PNG"


def test_plot_classification_ignores_the_user_s_style() -> None:
    plots = plot_classification(TARGET, OUTPUTS, ["no", "yes"])
    assert list(plots) == ["plots/confusion.png", "plots/roc.png"]
    assert all(content.startswith(PNG_SIGNATURE) for content in plots.values())
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30}):
        assert plot_classification(TARGET, OUTPUTS, ["no", "yes"]) == plots


def test_plot_classification_of_one_class_has_no_curve() -> None:
    outputs = {name: values[:1] for name, values in OUTPUTS.items()}
    assert set(plot_classification(TARGET[:1], outputs, ["no", "yes"])) == {
        "plots/confusion.png",
        "plots/roc.png",
    }


def test_plot_regression_makes_one_plot() -> None:
    (content,) = plot_regression(np.array([1.0, 2.0]), {"prediction": np.array([1.0, 2.5])}).values()
    assert content.startswith(PNG_SIGNATURE)


def test_plot_classification_weights_change_the_curve() -> None:
    target = TARGET[[0, 1, 3, 2]]
    plots = plot_classification(target, OUTPUTS, ["no", "yes"])
    weighted = plot_classification(target, OUTPUTS, ["no", "yes"], np.array([1.0, 3.0, 2.0, 1.0]))
    assert weighted["plots/confusion.png"] == plots["plots/confusion.png"]
    assert weighted["plots/roc.png"] != plots["plots/roc.png"]


def test_plot_classification_draws_the_positive_class() -> None:
    target = TARGET[[0, 1, 3, 2]]
    plots = {
        label: plot_classification(target, OUTPUTS, ["no", "yes"], positive_label=label)
        for label in ("no", "yes")
    }
    assert plots["yes"] == plot_classification(target, OUTPUTS, ["no", "yes"])
    assert plots["yes"]["plots/roc.png"] != plots["no"]["plots/roc.png"]
    assert plots["yes"]["plots/confusion.png"] == plots["no"]["plots/confusion.png"]

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.support.bundles import contract
from tidegate.contract import Contract
from tidegate_training.bundling.parity import ParityReport
from tidegate_training.config import ModelCard
from tidegate_training.evaluation.breakdown import Breakdown, Group
from tidegate_training.evaluation.estimates import Estimates
from tidegate_training.evaluation.evaluation import Evaluation
from tidegate_training.evaluation.intervals import Interval
from tidegate_training.evaluation.overfitting import Overfitting
from tidegate_training.gates import evaluate_gates, parse_gate
from tidegate_training.model_card import NOT_STATED, CardContext, render_model_card

METRICS = {split: {"f1": 0.5, "roc_auc": None} for split in ("train", "validation", "test")}
INTERVAL = Interval(0.3, 0.7, "bootstrap")
EQUAL = ParityReport("equal", rows=100, max_abs_difference=1e-7)


def render(
    parity: ParityReport = EQUAL,
    warnings: tuple[str, ...] = (),
    texts: dict[str, str] | None = None,
    labels: tuple[str, ...] = ("no", "yes"),
) -> str:
    evaluation = Evaluation(
        METRICS,
        {"train": 60, "validation": 20, "test": 20},
        {},
        positive_label="yes",
        overfitting=Overfitting("no", "f1", 0.0, "No overfitting: F1 is 0.500."),
        gates=evaluate_gates([parse_gate("test.f1", ">= 0.4")], METRICS),
        warnings=list(warnings),
        intervals={"test": {"f1": INTERVAL}},
        breakdown=Breakdown(classes=(Group(None, "yes", Estimates(12, {"f1": 0.5}, {"f1": INTERVAL})),)),
    )
    context = CardContext(ModelCard(**(texts or {})), "Ridge", {"alpha": 2}, "loans.csv, 100 rows.")
    return render_model_card(
        Contract.model_validate(contract().model_dump() | {"labels": labels}),
        context,
        evaluation,
        parity=parity,
        plots=["plots/roc.svg"],
        versions={"numpy": "2.0"},
    )


def test_render_model_card_has_the_owner_s_texts() -> None:
    texts = {
        "summary": "Sorts irises.",
        "intended_use": "A demonstration.",
        "limitations": "150 flowers.",
        "retention": "Deleted in 2030.",
    }
    card = render(texts=texts)
    assert card.startswith("# iris\n\nSorts irises.\n")
    assert "## Intended use\n\nA demonstration.\n" in card
    assert "## Limitations\n\n150 flowers. " in card
    assert NOT_STATED not in card


def test_render_model_card_without_texts_says_so() -> None:
    assert render().count(NOT_STATED) == 3


def test_render_model_card_has_metrics_gates_and_features() -> None:
    card = render(warnings=("ConvergenceWarning: slow",))
    for line in (
        "| f1 | 0.5 | 0.5 | 0.5 | 0.3 to 0.7 |",
        "| roc_auc | - | - | - | - |",
        "| yes | 12 | 0.5 (0.3 to 0.7) |",
        "- test.f1 >= 0.4 is passed by 0.1 (measured 0.5)",
        "| colour | BYTES | blue, red | yes | internal |",
        "| length | FP32 | 1 to 7 | yes | internal |",
        "Warning: ConvergenceWarning: slow",
        "![plots/roc.svg](plots/roc.svg)",
        "| numpy | 2.0 |",
    ):
        assert line in card.splitlines()


@pytest.mark.parametrize(
    ("parity", "words"),
    [
        (EQUAL, "equal to scikit-learn on 100 rows, largest difference 1e-07"),
        (ParityReport("not compiled", "no converter"), "not compiled, so the bundle has none: no converter"),
    ],
)
def test_render_model_card_names_the_parity_verdict(parity: ParityReport, words: str) -> None:
    assert f"- Compiled model (ONNX): {words}" in render(parity).splitlines()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("no", "yes"), "The positive class of precision, recall, F1 and ROC AUC is 'yes'."),
        (("a", "b", "c"), "Precision, recall, F1 and ROC AUC are means over the classes."),
    ],
)
def test_render_model_card_says_what_the_metrics_are_about(labels: tuple[str, ...], words: str) -> None:
    assert words in render(labels=labels).splitlines()


def test_render_model_card_names_algorithm_and_data() -> None:
    card = render()
    assert "- Algorithm: Ridge(alpha=2)" in card.splitlines()
    assert "## Data\n\nloans.csv, 100 rows.\n" in card

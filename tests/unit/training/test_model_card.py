# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.support.bundles import contract
from tests.support.training import configuration
from tidegate_training.bundling.parity import ParityReport
from tidegate_training.evaluation import Overfitting
from tidegate_training.gates import evaluate_gates, parse_gate
from tidegate_training.model_card import NOT_STATED, render_model_card

METRICS = {split: {"f1": 0.5, "roc_auc": None} for split in ("train", "validation", "test")}
EQUAL = ParityReport("equal", rows=100, max_abs_difference=1e-7)


def render(parity: ParityReport = EQUAL, warnings: tuple[str, ...] = (), **fields: object) -> str:
    return render_model_card(
        configuration(**fields),
        contract(),
        source="loans.csv",
        sha256="0" * 64,
        split_sizes={"train": 60, "validation": 20, "test": 20},
        metrics=METRICS,
        overfitting=Overfitting("no", "f1", 0.0, "No overfitting: F1 is 0.500."),
        gates=evaluate_gates([parse_gate("test.f1", ">= 0.4")], METRICS),
        parity=parity,
        warnings=warnings,
        plots=["plots/roc.png"],
        versions={"numpy": "2.0"},
    )


def test_render_model_card_has_the_owner_s_texts() -> None:
    texts = {"summary": "Sorts irises.", "intended_use": "A demonstration.", "limitations": "150 flowers."}
    card = render(model_card=texts)
    assert card.startswith("# test\n\nSorts irises.\n")
    assert "## Intended use\n\nA demonstration.\n" in card
    assert "## Limitations\n\n150 flowers. " in card
    assert NOT_STATED not in card


def test_render_model_card_without_texts_says_so() -> None:
    assert render().count(NOT_STATED) == 2


def test_render_model_card_has_metrics_gates_and_features() -> None:
    card = render(warnings=("ConvergenceWarning: slow",))
    for line in (
        "| f1 | 0.5 | 0.5 | 0.5 |",
        "| roc_auc | - | - | - |",
        "- test.f1 >= 0.4 is passed by 0.1 (measured 0.5)",
        "| colour | BYTES | blue, red | yes | internal |",
        "| length | FP32 | 1 to 7 | yes | internal |",
        "Warning: ConvergenceWarning: slow",
        "![plots/roc.png](plots/roc.png)",
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
    ("split", "words"),
    [
        ({}, "Split at random, seed 0."),
        ({"time": "t"}, "Split by time (column 't'): the training rows are the earliest"),
        ({"group": "g"}, "Split by group (column 'g'): no group is in two splits"),
    ],
)
def test_render_model_card_describes_the_split(split: dict[str, str], words: str) -> None:
    assert words in render(split=split)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a training run: its evaluation as one HTML page with plots.

It has no date and no path, so the same model has the same report. It computes no metric.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.charts import inline_svg
from tidegate.contract import Contract
from tidegate.pages import render_page
from tidegate_training.evaluation.breakdown import shown_metrics
from tidegate_training.evaluation.evaluation import Evaluation
from tidegate_training.evaluation.leaderboard import SHOWN_TRIALS
from tidegate_training.model_card import CardContext, format_interval, format_number

_TILES = (
    "roc_auc",
    "recall",
    "precision",
    "f1",
    "average_precision",
    "ece",
    "r2",
    "rmse",
    "mae",
    "ndcg",
    "popularity_ndcg",
    "coverage",
    "outlier_fraction",
    "clusters",
    "silhouette",
    "adjusted_rand",
)
_MAX_TILES = 4


def render_report(
    contract: Contract,
    context: CardContext,
    evaluation: Evaluation,
    plots: Mapping[str, str],
    *,
    rejection: str | None = None,
    findings: Sequence[str] = (),
) -> str:
    """Render the report.

    Args:
        contract: The contract.
        context: Algorithm and data.
        evaluation: The evaluation.
        plots: The plots by name, as rendered SVG.
        rejection: The reason why there is no bundle of the model; None if there is one.
        findings: Sentences that are not about the evaluation.
    """
    split, breakdown = evaluation.split, evaluation.breakdown
    tiles = [name for name in _TILES if evaluation.metrics[split].get(name) is not None]
    return render_page(
        Path(__file__).with_name("templates") / "report.html.j2",
        {"number": format_number, "interval": format_interval, "words": _words},
        {name: inline_svg(svg) for name, svg in plots.items()},
        contract=contract,
        context=context,
        evaluation=evaluation,
        rejection=rejection,
        findings=findings,
        split=split,
        tiles=tiles[:_MAX_TILES],
        tables=_tables(evaluation),
        breakdown=breakdown,
        trials=[] if evaluation.search is None else evaluation.search.leaderboard[:SHOWN_TRIALS],
        parameters=", ".join(f"{key}={value!r}" for key, value in sorted(context.parameters.items())),
    )


def _tables(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the tables of classes and of groups: title, metrics and rows of each."""
    breakdown = evaluation.breakdown
    tables = [("Classes", "class", list(breakdown.classes))]
    tables += [(f"Groups by {column}", column, own) for column, own in breakdown.groups_by_column.items()]
    return [
        {"title": title, "kind": kind, "metrics": shown_metrics(groups), "groups": groups}
        for title, kind, groups in tables
        if groups
    ]


def _words(name: str) -> str:
    """Return a metric's name as words."""
    known = {
        "roc_auc": "ROC AUC",
        "f1": "F1",
        "ece": "ECE",
        "r2": "R²",
        "mae": "MAE",
        "mse": "MSE",
        "rmse": "RMSE",
        "ndcg": "NDCG",
        "brier": "Brier score",
        "popularity_ndcg": "NDCG of popular items",
    }
    return known.get(name, name.replace("_", " "))

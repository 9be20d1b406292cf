# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``tidegate evaluate``: read the options, evaluate served predictions and print the result."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.console import OutputFormat, OutputOption, print_result

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate_training.live_evaluation import LiveEvaluation


def evaluate(
    source: Annotated[
        str,
        typer.Argument(
            help="The bundle: a directory, <store>/<name>@sha256:<digest> or <store>/<name>:<channel>."
        ),
    ],
    predictions: Annotated[
        str,
        typer.Option(
            help="Served predictions: a CSV or Parquet file, an object, or the folder of a request sample."
        ),
    ],
    labels: Annotated[str, typer.Option(help="The true classes or values by id: such a file.")],
    id_column: Annotated[str, typer.Option("--id", help="The column of the id, in both files.")] = "id",
    target: Annotated[str, typer.Option(help="The column of the true class or value.")] = "label",
    group: Annotated[
        list[str] | None,
        typer.Option(help="A column of the predictions whose groups have metrics; repeatable."),
    ] = None,
    positive_label: Annotated[
        str | None, typer.Option(help="The class, of two, of the metrics; default: the threshold's.")
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Evaluate served predictions by labels that arrived later.

    The files are joined by id. The metrics and their intervals are printed next to those of training, and by
    group.
    """
    from tidegate.store import fetch
    from tidegate_training.live_evaluation import evaluate_labels

    with tempfile.TemporaryDirectory() as cache:
        result = evaluate_labels(
            fetch(source, Path(cache)),
            predictions,
            labels,
            id_column=id_column,
            target=target,
            groups=group or (),
            positive_label=positive_label,
        )
    print_result(output, result.to_json(), _to_text(result))


def _to_text(result: "LiveEvaluation") -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    from tidegate_training.evaluation.breakdown import shown_metrics
    from tidegate_training.model_card import format_estimate

    estimates = result.estimates
    table = Table("metric", "training", f"now ({estimates.rows} rows)", box=None, pad_edge=False)
    for name, value in estimates.metrics.items():
        recorded = result.recorded.get(name)
        before = "-" if recorded is None else format_estimate(recorded.value, recorded.interval)
        table.add_row(name, before, format_estimate(value, estimates.intervals.get(name)))
    parts: list[RenderableType] = [table]
    for column, groups in result.breakdown.groups_by_column.items():
        names = shown_metrics(groups)
        of_groups = Table(column, "rows", *names, box=None, pad_edge=False)
        for group in groups:
            own = group.estimates
            cells = (format_estimate(own.metrics.get(name), own.intervals.get(name)) for name in names)
            of_groups.add_row(group.name, str(own.rows), *cells)
        parts += ["", of_groups]
    return Group(*parts, "", "\n".join(result.findings))

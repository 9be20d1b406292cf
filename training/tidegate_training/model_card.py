# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The model card: purpose, data, metrics and limitations of a model, as Markdown.

It is rendered from the contract and the metrics, and has no date, so that the same model has the same card.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.contract import Contract, Feature
from tidegate_training.bundling.parity import ParityReport
from tidegate_training.config import ModelCard
from tidegate_training.evaluation.breakdown import Group, shown_metrics
from tidegate_training.evaluation.evaluation import Evaluation
from tidegate_training.evaluation.intervals import Interval
from tidegate_training.evaluation.leaderboard import SHOWN_TRIALS, SearchResult

NOT_STATED = "Not stated by the model's owner."


@dataclass(frozen=True, slots=True)
class CardContext:
    """The facts of a card that neither contract nor evaluation hold.

    Attributes:
        texts: The owner's texts.
        algorithm: The estimator's class name.
        parameters: The estimator's parameters that its owner set, by name.
        data: The description of the data.
        preprocessing: The description of the preprocessing; None if the pipeline alone knows it.
        threshold: How the decision threshold was chosen; None without one.
        reference: The model that the compiled one was compared with.
    """

    texts: ModelCard
    algorithm: str
    parameters: Mapping[str, Any]
    data: str
    preprocessing: str | None = None
    threshold: str | None = None
    reference: str = "scikit-learn"


def render_model_card(
    contract: Contract,
    context: CardContext,
    evaluation: Evaluation,
    *,
    parity: ParityReport,
    plots: Sequence[str],
    versions: Mapping[str, str],
) -> str:
    """Render the card.

    Args:
        contract: The contract.
        context: Purpose, algorithm and data.
        evaluation: Metrics, gates and warnings.
        parity: The parity report.
        plots: The names of the plots' files.
        versions: Versions by package.
    """
    texts = context.texts
    task = contract.task.replace("_", " ")
    breakdown = evaluation.breakdown
    sections = [
        f"# {contract.name}",
        texts.summary or f"A {task} model: {context.algorithm}.",
        "## Intended use\n\n" + (texts.intended_use or NOT_STATED),
        "## Limitations\n\n" + " ".join([texts.limitations or NOT_STATED, _limitations(contract)]),
        "## Data\n\n" + context.data,
        "## Retention\n\n" + (texts.retention or NOT_STATED),
        "## Model\n\n" + _model(context, contract, parity),
        "## Metrics\n\n" + _metrics(evaluation, contract),
    ]
    if evaluation.diagnosis is not None:
        findings = " ".join(
            f"{found.text} (plot {found.evidence})" for found in evaluation.diagnosis.findings
        )
        sections.append("## Diagnosis\n\n" + findings)
    if evaluation.search is not None:
        sections.append("## Search\n\n" + _search(evaluation.search))
    if breakdown.classes:
        sections.append("## Classes\n\n" + render_groups(breakdown.classes))
    for column, own in breakdown.groups_by_column.items():
        sections.append(f"## Groups by {column}\n\n" + render_groups(own))
    if evaluation.gates:
        sections.append("## Gates\n\n" + "\n".join(f"- {result}" for result in evaluation.gates))
    sections.append("## Features\n\n" + _features(contract.features))
    if plots:
        sections.append("## Plots\n\n" + "\n\n".join(f"![{name}]({name})" for name in plots))
    sections.append("## Versions\n\n" + _table(["package", "version"], sorted(versions.items())))
    return "\n\n".join(sections) + "\n"


def _limitations(contract: Contract) -> str:
    if contract.task == "recommendation":
        return _limitations_of_recommendations(contract.features[0])
    accepting = [
        feature.name
        for feature in contract.features
        if feature.handle_unknown == "accept" and feature.categories
    ]
    text = (
        "The model was trained on the ranges and categories below; predictions for other values extrapolate."
    )
    if accepting:
        text += (
            f" An unknown category of {', '.join(accepting)} counts as none of the known categories, and as "
            "below the first one if they have an order."
        )
    return text


def _limitations_of_recommendations(user: Feature) -> str:
    """Return what the model knows of users and items, which are those of the training rows."""
    text = "Items without a training row are never recommended."
    if user.handle_unknown == "accept":
        text += f" A new {user.name} receives the most popular items until the model is trained again."
    return text


def _model(context: CardContext, contract: Contract, parity: ParityReport) -> str:
    parameters = ", ".join(f"{key}={value!r}" for key, value in sorted(context.parameters.items()))
    lines = [f"- Algorithm: {context.algorithm}({parameters})"]
    if context.preprocessing is not None:
        lines.append(f"- Numbers: {context.preprocessing}")
    lines.append(
        f"- Outputs: {', '.join(f'{output.name} ({output.datatype})' for output in contract.outputs)}"
    )
    lines += [
        f"- Columns of {output.name}: {', '.join(map(str, output.labels))}"
        for output in contract.outputs
        if output.labels
    ]
    if contract.labels:
        name = {"classification": "Classes", "clustering": "Clusters"}.get(contract.task, "Labels")
        lines.append(f"- {name}: {', '.join(map(str, contract.labels))}")
    if contract.threshold is not None:
        lines.append(
            f"- Decision threshold: '{contract.threshold.positive_label}' from a probability of "
            f"{contract.threshold.value:g}, {context.threshold}"
        )
    if parity.verdict == "equal":
        compiled = (
            f"equal to {context.reference} on {parity.rows} rows, largest difference "
            f"{parity.max_abs_difference:.2g}"
        )
    else:
        compiled = f"{parity.verdict}, so the bundle has none: {parity.reason}"
    lines.append(f"- Compiled model (ONNX): {compiled}")
    return "\n".join(lines)


def _metrics(evaluation: Evaluation, contract: Contract) -> str:
    metrics, split, dummy = evaluation.metrics, evaluation.split, evaluation.dummy
    intervals = evaluation.intervals.get(split, {})
    header = ["metric", *metrics, f"95 % interval ({split})", *([dummy.strategy] if dummy else [])]
    folds = evaluation.cross_validation
    if folds is not None:
        header.append(f"mean of {len(folds.folds)} folds")
    rows = [
        [
            name,
            *(format_number(metrics[split][name]) for split in metrics),
            format_interval(intervals.get(name)),
            *([format_number(dummy.metrics[name])] if dummy else []),
            *([format_estimate(folds.metrics[name], folds.intervals[name])] if folds else []),
        ]
        for name in metrics[split]
    ]
    text = _table(header, rows)
    if dummy is not None:
        text += f"\n\n{dummy.text}"
    if evaluation.overfitting is not None:
        text += f"\n\n{evaluation.overfitting.text}"
    if contract.task == "classification" and len(contract.labels) == 2:
        positive = evaluation.positive_label
        text += f"\n\nThe positive class of precision, recall, F1 and ROC AUC is '{positive}'."
    elif contract.task == "recommendation":
        text += (
            f"\n\nNDCG and recall are means over users of the {contract.prediction.width} recommended items, "
            "next to those of as many popular ones; the best possible list has 1. Items that are left out "
            "because a user has them do not count. Coverage is the fraction of all items that is recommended "
            "to some user."
        )
    elif contract.task == "classification":
        means = "classes" if contract.labels else "targets"
        text += f"\n\nPrecision, recall, F1 and ROC AUC are means over the {means}."
    for warning in evaluation.warnings:
        text += f"\n\nWarning: {warning}"
    return text


def _search(search: SearchResult) -> str:
    rows = [
        [trial.number, str(trial), format_number(trial.mean), format_number(trial.spread), trial.state]
        for trial in search.leaderboard[:SHOWN_TRIALS]
    ]
    header = ["trial", "algorithm", f"{search.metric} (inner folds)", "standard deviation", "state"]
    return " ".join(search.findings) + "\n\n" + _table(header, rows)


def render_groups(groups: Sequence[Group]) -> str:
    """Render the metrics of classes or groups as a table, with intervals where they are defined."""
    names = shown_metrics(groups)
    rows = [
        [
            group.name,
            group.estimates.rows,
            *(
                format_estimate(group.estimates.metrics.get(name), group.estimates.intervals.get(name))
                for name in names
            ),
        ]
        for group in groups
    ]
    kind = groups[0].column or "class"
    return _table([kind, "rows", *(name.replace("_", " ") for name in names)], rows)


def _features(features: Sequence[Feature]) -> str:
    rows = []
    for feature in features:
        if feature.categories is not None:
            separator = " < " if feature.ordered else ", "
            names = [*map(str, feature.categories[:12]), *(["…"] if len(feature.categories) > 12 else [])]
            values = separator.join(names)
        elif feature.is_free_text:
            values = "free text"
        elif feature.minimum is not None:
            limits = (feature.minimum, feature.maximum)
            values = " to ".join(limit if isinstance(limit, str) else f"{limit:g}" for limit in limits)
        else:
            values = "true, false"
        missing = "yes" if feature.missing else "no"
        rows.append([feature.name, feature.datatype.value, values, missing, feature.sensitivity.value])
    return _table(["feature", "type", "values in the training rows", "may be missing", "sensitivity"], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def format_interval(interval: Interval | None) -> str:
    """Format an interval; "-" if it is not defined."""
    return "-" if interval is None else str(interval)


def format_estimate(value: float | None, interval: Interval | None) -> str:
    """Format a metric with its interval."""
    return format_number(value) if interval is None else f"{value:.3g} ({format_interval(interval)})"


def format_number(value: float | None) -> str:
    """Format a metric with four significant digits; "-" if it is not defined."""
    return "-" if value is None else f"{value:.4g}"

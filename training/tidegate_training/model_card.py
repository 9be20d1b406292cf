# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The model card: purpose, data, metrics and limitations of a model, as Markdown.

It is rendered from the contract and the metrics, and has no date, so that the same model has the same card.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.contract import Contract, Feature
from tidegate_training.bundling.parity import ParityReport
from tidegate_training.config import TrainingConfig
from tidegate_training.evaluation import Metrics, Overfitting
from tidegate_training.gates import GateResult

NOT_STATED = "Not stated by the model's owner."


def render_model_card(
    config: TrainingConfig,
    contract: Contract,
    *,
    source: str,
    sha256: str,
    split_sizes: Mapping[str, int],
    metrics: Mapping[str, Metrics],
    overfitting: Overfitting,
    gates: Sequence[GateResult],
    parity: ParityReport,
    warnings: Sequence[str],
    plots: Sequence[str],
    versions: Mapping[str, str],
) -> str:
    """Render the card.

    Args:
        config: The configuration, with the owner's texts.
        contract: The contract.
        source: The name of the data.
        sha256: The digest of the data.
        split_sizes: Rows by split.
        metrics: Metrics by split.
        overfitting: The verdict on overfitting.
        gates: The results of the gates.
        parity: The parity report.
        warnings: The warnings of scikit-learn.
        plots: The names of the plots' files.
        versions: Versions by package.
    """
    texts = config.model_card
    sections = [
        f"# {config.name}",
        texts.summary or f"A {config.task} model: scikit-learn's {config.algorithm.name}.",
        "## Intended use\n\n" + (texts.intended_use or NOT_STATED),
        "## Limitations\n\n" + " ".join([texts.limitations or NOT_STATED, _limitations(contract)]),
        "## Data\n\n" + _data(source, sha256, split_sizes, config),
        "## Model\n\n" + _model(config, contract, parity),
        "## Metrics\n\n" + _metrics(metrics, contract, config, overfitting, warnings),
    ]
    if gates:
        sections.append("## Gates\n\n" + "\n".join(f"- {result}" for result in gates))
    sections.append("## Features\n\n" + _features(contract.features))
    sections.append("## Plots\n\n" + "\n\n".join(f"![{name}]({name})" for name in plots))
    sections.append("## Versions\n\n" + _table(["package", "version"], sorted(versions.items())))
    return "\n\n".join(sections) + "\n"


def _limitations(contract: Contract) -> str:
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


def _data(source: str, sha256: str, split_sizes: Mapping[str, int], config: TrainingConfig) -> str:
    split = config.split
    if split.time is not None:
        how = f"by time (column '{split.time}'): the training rows are the earliest, the test rows the latest"
    elif split.group is not None:
        how = f"by group (column '{split.group}'): no group is in two splits"
    else:
        how = f"at random, seed {config.seed}"
    rows = ", ".join(f"{name} {count}" for name, count in split_sizes.items())
    text = (
        f"{source}, target '{config.target}', SHA-256 `{sha256}`.\n\n"
        f"Split {how}. Rows: {rows}. Preprocessing and estimator were fitted on the training rows alone."
    )
    if config.sample_weight is not None:
        text += (
            f" A row counts by its weight, column '{config.sample_weight}', in the estimator and in the "
            "metrics."
        )
    return text


def _model(config: TrainingConfig, contract: Contract, parity: ParityReport) -> str:
    parameters = ", ".join(f"{key}={value!r}" for key, value in sorted(config.algorithm.parameters.items()))
    lines = [f"- Algorithm: {config.algorithm.name}({parameters})"]
    numeric = config.preprocessing.numeric
    lines.append(
        f"- Numbers: impute={numeric.impute}, scale={numeric.scale}, float_dtype={config.float_dtype}"
    )
    lines.append(
        f"- Outputs: {', '.join(f'{output.name} ({output.datatype})' for output in contract.outputs)}"
    )
    if contract.labels:
        lines.append(f"- Classes: {', '.join(map(str, contract.labels))}")
    if parity.verdict == "equal":
        compiled = (
            f"equal to scikit-learn on {parity.rows} rows, largest difference {parity.max_abs_difference:.2g}"
        )
    else:
        compiled = f"{parity.verdict}, so the bundle has none: {parity.reason}"
    lines.append(f"- Compiled model (ONNX): {compiled}")
    return "\n".join(lines)


def _metrics(
    metrics: Mapping[str, Metrics],
    contract: Contract,
    config: TrainingConfig,
    overfitting: Overfitting,
    warnings: Sequence[str],
) -> str:
    names = list(metrics["test"])
    rows = [[name, *(format_number(metrics[split][name]) for split in metrics)] for name in names]
    text = _table(["metric", *metrics], rows) + f"\n\n{overfitting.text}"
    if len(contract.labels) == 2:
        positive = config.positive_label if config.positive_label is not None else contract.labels[1]
        text += f"\n\nThe positive class of precision, recall, F1 and ROC AUC is '{positive}'."
    elif contract.labels:
        text += "\n\nPrecision, recall, F1 and ROC AUC are means over the classes."
    for warning in warnings:
        text += f"\n\nWarning: {warning}"
    return text


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


def format_number(value: float | None) -> str:
    """Format a metric with four significant digits; "-" if it is not defined."""
    return "-" if value is None else f"{value:.4g}"

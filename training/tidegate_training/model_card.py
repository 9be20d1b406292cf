# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The model card: what a person should know of a model before they rely on it, as Markdown.

It is made from the contract and the measurements, and holds no date, so that the same model has the same
card.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.contract import Contract, Feature
from tidegate_training.bundling.parity import Certificate
from tidegate_training.config import TrainingConfig
from tidegate_training.evaluation import Metrics, Overfitting
from tidegate_training.gates import GateResult

UNSAID = "Not said by the model's owner."


def model_card(
    config: TrainingConfig,
    contract: Contract,
    *,
    source: str,
    sha256: str,
    sizes: Mapping[str, int],
    metrics: Mapping[str, Metrics],
    overfitting: Overfitting,
    gates: Sequence[GateResult],
    certificate: Certificate,
    notes: Sequence[str],
    plots: Sequence[str],
    versions: Mapping[str, str],
) -> str:
    """The card's text."""
    about = config.model_card
    sections = [
        f"# {config.name}",
        about.summary or f"A {config.task} model: {config.algorithm.name} of scikit-learn.",
        "## Intended use\n\n" + (about.intended_use or UNSAID),
        "## Limits\n\n" + " ".join([about.limits or UNSAID, _limits(contract)]),
        "## Data\n\n" + _data(source, sha256, sizes, config),
        "## Model\n\n" + _model(config, contract, certificate),
        "## Measured\n\n" + _measured(metrics, contract, config, overfitting, notes),
    ]
    if gates:
        sections.append("## Gates\n\n" + "\n".join(f"- {result}" for result in gates))
    sections.append("## Features\n\n" + _features(contract.features))
    sections.append("## Plots\n\n" + "\n\n".join(f"![{name}]({name})" for name in plots))
    sections.append("## Versions\n\n" + _table(["package", "version"], sorted(versions.items())))
    return "\n\n".join(sections) + "\n"


def _limits(contract: Contract) -> str:
    accepting = [
        feature.name
        for feature in contract.features
        if feature.handle_unknown == "accept" and feature.categories
    ]
    text = "It knows the ranges and categories below; values outside are extrapolation."
    if accepting:
        text += f" In {', '.join(accepting)}, categories that it never saw count as none of the known."
    return text


def _data(source: str, sha256: str, sizes: Mapping[str, int], config: TrainingConfig) -> str:
    split = config.split
    if split.time is not None:
        how = f"by time (column '{split.time}'): the past trains, the future tests"
    elif split.group is not None:
        how = f"by group (column '{split.group}'): no group is in two parts"
    else:
        how = f"at random, seed {config.seed}"
    parts = ", ".join(f"{name} {count}" for name, count in sizes.items())
    return (
        f"{source}, target '{config.target}', SHA-256 `{sha256}`.\n\n"
        f"Split {how}. Rows: {parts}. Preprocessing and estimator were fitted on the training part alone."
    )


def _model(config: TrainingConfig, contract: Contract, certificate: Certificate) -> str:
    parameters = ", ".join(f"{key}={value!r}" for key, value in sorted(config.algorithm.parameters.items()))
    lines = [f"- Algorithm: {config.algorithm.name}({parameters})"]
    numeric = config.preprocessing.numeric
    lines.append(f"- Numbers: impute {numeric.impute}, scale {numeric.scale}; precision {config.float_dtype}")
    lines.append(
        f"- Outputs: {', '.join(f'{output.name} ({output.datatype})' for output in contract.outputs)}"
    )
    if contract.labels:
        lines.append(f"- Classes: {', '.join(map(str, contract.labels))}")
    if certificate.verdict == "equal":
        compiled = (
            f"proven equal to scikit-learn on {certificate.rows} rows, largest difference "
            f"{certificate.max_abs_difference:.2g}"
        )
    else:
        compiled = f"none, as it is {certificate.verdict}: {certificate.reason}"
    lines.append(f"- Compiled form (ONNX): {compiled}")
    return "\n".join(lines)


def _measured(
    metrics: Mapping[str, Metrics],
    contract: Contract,
    config: TrainingConfig,
    overfitting: Overfitting,
    notes: Sequence[str],
) -> str:
    names = list(metrics["test"])
    rows = [[name, *(number(metrics[part][name]) for part in metrics)] for name in names]
    text = _table(["metric", *metrics], rows) + f"\n\n{overfitting.text}"
    if len(contract.labels) == 2:
        positive = config.positive_label if config.positive_label is not None else contract.labels[1]
        text += f"\n\nPrecision, recall, F1 and ROC AUC are about the class '{positive}'."
    elif contract.labels:
        text += "\n\nPrecision, recall and F1 are means over the classes."
    for note in notes:
        text += f"\n\nNote: {note}"
    return text


def _features(features: Sequence[Feature]) -> str:
    rows = []
    for feature in features:
        if feature.categories is not None:
            values = ", ".join(feature.categories[:12]) + (", …" if len(feature.categories) > 12 else "")
        elif feature.minimum is not None:
            values = f"{feature.minimum:g} to {feature.maximum:g}"
        else:
            values = "true, false"
        missing = "yes" if feature.missing else "no"
        rows.append([feature.name, feature.datatype.value, values, missing, feature.sensitivity.value])
    return _table(["feature", "type", "seen in training", "may be missing", "sensitivity"], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def number(value: float | None) -> str:
    """A measurement for a person: four digits, or a dash where it is not defined."""
    return "-" if value is None else f"{value:.4g}"

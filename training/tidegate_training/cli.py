# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``tidegate train``: a training run from the command line, and what it found.

It reads options and prints. The run itself is in :mod:`tidegate_training.run`, imported only when the command runs.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.console import OutputFormat, OutputOption, emit, progress
from tidegate.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate.reference import Reference
    from tidegate_training.run import Trained


class ModelFormat(StrEnum):
    """What a bundle can hold beside the forms that it always has."""

    JOBLIB = "joblib"


def train(
    config: Annotated[Path, typer.Argument(help="The YAML file that says what to train.", metavar="CONFIG")],
    out: Annotated[
        Path | None, typer.Option(help="Where the bundle goes.", show_default="out/bundles/<name>")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(help="A store to push the bundle to, such as file:///models or s3://bucket/prefix."),
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="A channel of the store that then points to the bundle. Needs --push.")
    ] = None,
    extra_format: Annotated[
        ModelFormat | None,
        typer.Option(
            "--extra-format", help="Also write the model in this form, for servers that load nothing else."
        ),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Train a model from a YAML file and seal it into a bundle.

    The data is split before anything is fitted. A model that misses one of its gates makes no bundle, and the
    command exits with 3.
    """
    if channel is not None and push is None:
        raise ConfigurationError(f"--channel {channel} needs --push: a channel is a store's.")
    from tidegate.reference import ChannelReference
    from tidegate.settings import Document
    from tidegate.store import Store
    from tidegate_training.config import TrainingConfig
    from tidegate_training.run import train as run

    document = Document.read(config)
    settings = document.fit(TrainingConfig)
    store = Store(push) if push is not None else None
    if store is not None and channel is not None:
        ChannelReference(store.uri, settings.name, channel)  # a mistake costs no training
    directory = out if out is not None else Path("out/bundles") / settings.name
    with progress() as display:
        task = display.add_task("starting", total=None)
        with document.locating():
            trained = run(
                settings,
                directory,
                joblib=extra_format is ModelFormat.JOBLIB,
                base=config.parent,
                report=lambda step: display.update(task, description=step),
            )
        reference = None
        if store is not None:
            display.update(task, description="pushing")
            reference = store.push(trained.bundle)
            if channel is not None:
                store.move_channel(settings.name, channel, reference.digest)
    emit(output, payload(trained, reference), report(trained, reference))


def payload(trained: "Trained", reference: "Reference | None") -> dict[str, Any]:
    """What a script reads of a run."""
    return {
        "name": trained.bundle.manifest.name,
        "digest": trained.bundle.digest,
        "reference": None if reference is None else str(reference),
        "bundle": str(trained.bundle.path),
        "metrics": trained.metrics,
        "gap": trained.gap,
        "overfitting": {
            "verdict": trained.overfitting.verdict,
            "metric": trained.overfitting.metric,
            "gap": trained.overfitting.gap,
            "text": trained.overfitting.text,
        },
        "parity": trained.certificate.payload(),
        "gates": [
            {"gate": str(result.gate), "value": result.value, "passed": result.passed}
            for result in trained.gates
        ],
        "notes": trained.notes,
    }


def report(trained: "Trained", reference: "Reference | None") -> "RenderableType":
    """What a person reads of a run."""
    from rich.console import Group
    from rich.table import Table

    from tidegate_training.model_card import number

    manifest = trained.bundle.manifest
    table = Table(title=f"{manifest.name}: {manifest.algorithm}", title_justify="left")
    table.add_column("metric")
    for column in (*trained.sizes, "gap"):
        table.add_column(column, justify="right")
    table.add_row("rows", *map(str, trained.sizes.values()), "")
    for metric in trained.metrics["test"]:
        values = [number(trained.metrics[part][metric]) for part in trained.sizes]
        table.add_row(metric, *values, number(trained.gap[metric]))
    lines = [trained.overfitting.text, *(f"Gate {result}." for result in trained.gates)]
    lines += [f"Note: {note}" for note in trained.notes]
    lines.append(parity_sentence(trained))
    lines.append(f"Bundle: {trained.bundle.path}")
    lines.append(
        f"Reference: {reference}" if reference is not None else f"Digest: sha256:{trained.bundle.digest}"
    )
    return Group(table, "\n".join(lines))


def parity_sentence(trained: "Trained") -> str:
    """What the certificate says, and what a server will therefore do."""
    certificate = trained.certificate
    if certificate.verdict == "equal":
        return (
            f"Compiled form: equal to scikit-learn on {certificate.rows} rows (largest difference "
            f"{certificate.max_abs_difference:.2g}), so it is served."
        )
    return f"Compiled form: {certificate.verdict} ({certificate.reason}), so scikit-learn itself is served."

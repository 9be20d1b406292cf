# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``tidegate train`` and ``tidegate bundle``: read the options, make a bundle and print the result.

The work itself is in :mod:`tidegate_training.run` and :mod:`tidegate_training.fitted`, which are imported
only when a command runs.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.console import OutputFormat, OutputOption, print_result, progress, stderr
from tidegate.errors import ConfigurationError, ServerError
from tidegate.options import CertificateOption, SignOption, read_signing_key

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate.reference import ChannelReference, Reference
    from tidegate.settings import Document
    from tidegate_training.bundling.parity import ParityReport
    from tidegate_training.config import TrainingConfig
    from tidegate_training.run import TrainingResult
    from tidegate_training.tracking import TrackedRun


class ExtraFormat(StrEnum):
    """Formats that a bundle can hold in addition to its usual ones."""

    JOBLIB = "joblib"


def train(
    config: Annotated[
        Path | None, typer.Argument(help="The YAML file that describes the run.", metavar="CONFIG")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The bundle's directory.", show_default="out/bundles/<name>")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(help="Push the bundle to a store, such as file:///models or s3://bucket/prefix."),
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="Move this channel of the store to the bundle. Requires --push.")
    ] = None,
    extra_format: Annotated[
        ExtraFormat | None,
        typer.Option(help="Also write the model in this format, for servers that load no other."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write report.html and metrics.json to this folder, also of a model that misses a gate.",
            metavar="DIR",
        ),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            help="Run the training of this bundle again, and compare. Without CONFIG, the bundle's own "
            "configuration is used; its data path starts from the working directory.",
            metavar="BUNDLE",
        ),
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option(
            help="The folder or store of the finished trials of a search, such as s3://bucket/prefix. A "
            "search that was stopped continues after them.",
            show_default="<out>.trials",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="The number of processes of a search.", min=1)] = 1,
    dask: Annotated[
        str | None,
        typer.Option(
            help="The scheduler of a Dask cluster that runs a search instead of processes here. Requires "
            "--trials with a store that its workers reach.",
            metavar="tcp://HOST:PORT",
        ),
    ] = None,
    shard: Annotated[
        int | None,
        typer.Option(
            help="Run this shard of a search alone, from 0, and end. The number after the last shard waits "
            "for the trials of all shards, and trains. Requires --trials.",
            min=0,
        ),
    ] = None,
    sign: SignOption = None,
    certificate: CertificateOption = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI", help="Log the run to this MLflow server. Default: no run is logged."
        ),
    ] = None,
    register: Annotated[
        str | None,
        typer.Option(
            help="Also register the bundle as a version of this model in MLflow. Requires --push.",
            metavar="NAME",
        ),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Train a model from a YAML file and seal it into a bundle.

    The rows are split before anything is fitted. If the model misses a gate, no bundle is written and the
    exit code is 3. With --verify, it is 3 if the new predictions differ from the recorded ones.
    """
    if verify is not None:
        if out or push or channel or extra_format or report or register:
            raise ConfigurationError(
                "--verify keeps no bundle: remove --out, --push, --channel, --extra-format, --report and "
                "--register."
            )
        _verify(verify, config, output)
        return
    if config is None:
        raise ConfigurationError("CONFIG is missing: name the YAML file, or a bundle with --verify.")
    if channel is not None and push is None:
        raise ConfigurationError(
            f"--channel {channel} requires --push STORE, because a channel belongs to a store: add --push."
        )
    if register is not None:
        _check_registration(register, push, tracking_uri)
    from tidegate.reference import ChannelReference
    from tidegate.settings import Document
    from tidegate.store import Store
    from tidegate_training.config import TrainingConfig

    key = read_signing_key(sign, certificate)
    document = Document.read(config)
    settings = document.parse_as(TrainingConfig)
    if dask is not None and trials is None:
        raise ConfigurationError("--dask requires --trials, which all workers share: add --trials STORE.")
    if shard is not None and _is_shard(settings, shard, trials):
        _run_shard(document, settings, shard, trials, jobs, dask, output)
        return
    store = Store(push) if push is not None else None
    moved = None
    if store is not None and channel is not None:
        moved = ChannelReference(store.uri, settings.name, channel)
    # Everything above is validated first, because this import loads all libraries of training.
    from tidegate_training.run import SearchRun
    from tidegate_training.run import train as run
    from tidegate_training.search.workers import Workers

    directory = out if out is not None else Path("out/bundles") / settings.name
    with progress() as display:
        task = display.add_task("starting", total=None)
        with document.locate_field_errors():
            result = run(
                settings,
                directory,
                joblib=extra_format is ExtraFormat.JOBLIB,
                report_dir=report,
                base_dir=config.parent,
                search=SearchRun(trials, Workers(jobs, dask), wait=shard is not None),
                on_step=lambda step: display.update(task, description=step),
            )
        for note in _first_run_notes(settings, result):
            stderr.print(note, soft_wrap=True, markup=False)
        if key is not None:
            from tidegate.trust.attestations import sign_bundle

            sign_bundle(result.bundle, key)
        reference = None
        if store is not None:
            display.update(task, description="pushing")
            reference = store.push(result.bundle)
            if moved is not None:
                beaten = result.champion if _is_champion(settings, moved) else None
                expected = None if beaten is None else beaten.reference.digest
                store.move_channel(moved.name, moved.channel, reference.digest, expected)
    _report_to_kubernetes(result, reference)
    # The last step, because it may wait for a server.
    tracked = _track(result, config, tracking_uri, reference, register) if tracking_uri else None
    print_result(output, to_json(result, reference, tracked), to_text(result, reference, tracked))


def bundle(
    model: Annotated[
        Path,
        typer.Argument(
            help="The fitted model: .joblib, .pkl or .skops, XGBoost's .ubj or .json, LightGBM's .txt, "
            "CatBoost's .cbm, Keras's .keras, .onnx, or a folder of MLflow.",
            metavar="FILE",
        ),
    ],
    data: Annotated[str, typer.Option(help="Sample rows: a CSV or Parquet file, or an object.")],
    name: Annotated[str, typer.Option(help="The model's name in requests.")],
    target: Annotated[
        str | None, typer.Option(help="The column with the true classes or values, for the metrics.")
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="The decision threshold of two classes, as in train.yaml: 0.3, '{metric: f1}' or "
            "'{costs: {false_positive: 1, false_negative: 5}}'. The last two are tuned on the sample rows."
        ),
    ] = None,
    positive_label: Annotated[
        str | None, typer.Option(help="The class, of two, of the metrics and the threshold; the second one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The bundle's directory.", show_default="out/bundles/<name>")
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option(help="Open a pickle, which can run any code with your rights.")
    ] = False,
    trusted_type: Annotated[
        list[str] | None,
        typer.Option(help="The full name of a type of your own, such as package.module.Type."),
    ] = None,
    accept_unknown: Annotated[
        bool, typer.Option(help="Let the server accept categories that the sample rows do not have.")
    ] = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Seal a model that is fitted already into a bundle.

    The sample rows become the contract's ranges and categories, the golden requests and the baseline.
    """
    from tidegate import inspection
    from tidegate.settings import parse_value
    from tidegate.trust.policy import Policy
    from tidegate_training.fitted import bundle as seal
    from tidegate_training.fitted import require_model_name
    from tidegate_training.model_file import read_model, read_rows

    require_model_name(name)
    trusted = trusted_type or []
    with progress() as display:
        task = display.add_task("opening the model", total=None)
        saved = read_model(model, Policy.trusting(trusted), allow_pickle=allow_pickle)
        X, y = read_rows(data, target, saved.columns, saved.dtypes, saved.number_dtype)
        sealed = seal(
            saved.estimator,
            X,
            y,
            name=name,
            directory=out,
            positive_label=positive_label,
            threshold=None if threshold is None else parse_value(threshold),
            trusted_types=trusted,
            handle_unknown="accept" if accept_unknown else "reject",
            on_step=lambda step: display.update(task, description=step),
        )
    description = inspection.describe(sealed)
    payload = {
        "name": name,
        "digest": sealed.digest,
        "bundle": str(sealed.path),
        "metrics": description["metrics"],
        "parity": description["parity"],
    }
    print_result(output, payload, inspection.render(sealed, description))


def _check_registration(name: str, push: str | None, tracking_uri: str | None) -> None:
    from tidegate_training.tracking import require_mlflow

    if push is None or not tracking_uri:
        raise ConfigurationError(
            f"--register {name} requires --push STORE, because a registered model names a bundle in a store, "
            "and --tracking-uri, the address of MLflow: add them."
        )
    require_mlflow("--register")


def _track(
    result: "TrainingResult", config: Path, uri: str, reference: "Reference | None", register: str | None
) -> "TrackedRun | None":
    """Log the run. A failure is a warning, because the bundle is complete."""
    from tidegate_training.tracking import track_run

    try:
        return track_run(result.bundle, config, uri, reference, register)
    except (ConfigurationError, ServerError) as error:
        stderr.print(f"Warning: {error}", soft_wrap=True, markup=False)
        return None


def to_json(
    result: "TrainingResult", reference: "Reference | None", tracked: "TrackedRun | None" = None
) -> dict[str, Any]:
    """Return the result as a JSON document, for scripts.

    Args:
        result: The result.
        reference: The bundle in the store; None if it is in none.
        tracked: The run in MLflow; None if it is not logged.
    """
    overfitting, search = result.evaluation.overfitting, result.evaluation.search
    return {
        "name": result.bundle.manifest.name,
        "digest": result.bundle.digest,
        "reference": None if reference is None else str(reference),
        "bundle": str(result.bundle.path),
        "metrics": result.evaluation.metrics,
        "gap": result.evaluation.gap,
        "overfitting": None if overfitting is None else asdict(overfitting),
        "parity": result.parity.to_json(),
        "gates": [
            {"gate": str(gate_result.gate), "value": gate_result.value, "passed": gate_result.passed}
            for gate_result in result.evaluation.gates
        ],
        "champion": None if result.champion is None else result.champion.to_json(),
        "drift": None if result.drift is None else result.drift.to_json(),
        "search": None if search is None else search.to_json(seconds=True),
        "warnings": result.evaluation.warnings,
        "tracked": None if tracked is None else asdict(tracked),
    }


def to_text(
    result: "TrainingResult", reference: "Reference | None", tracked: "TrackedRun | None" = None
) -> "RenderableType":
    """Return the result as a table and sentences, for a terminal.

    Args:
        result: The result.
        reference: The bundle in the store; None if it is in none.
        tracked: The run in MLflow; None if it is not logged.
    """
    from rich.console import Group
    from rich.table import Table

    from tidegate_training.model_card import format_number

    manifest, evaluation = result.bundle.manifest, result.evaluation
    table = Table(title=f"{manifest.name}: {manifest.algorithm}", title_justify="left")
    table.add_column("metric")
    for column in (*evaluation.sizes, "gap"):
        table.add_column(column, justify="right")
    table.add_row("rows", *map(str, evaluation.sizes.values()), "")
    for metric in evaluation.metrics["test"]:
        values = [format_number(evaluation.metrics[split][metric]) for split in evaluation.sizes]
        table.add_row(metric, *values, format_number(evaluation.gap[metric]))
    lines = [part.text for part in (evaluation.dummy, evaluation.overfitting) if part is not None]
    lines += [] if evaluation.search is None else evaluation.search.findings
    lines += [f"Gate {gate_result}." for gate_result in evaluation.gates]
    lines += [] if result.drift is None else result.drift.sentences
    lines += [] if result.champion is None else result.champion.sentences
    lines += [f"Warning: {warning}" for warning in evaluation.warnings]
    lines.append(_parity_sentence(result.parity))
    lines.append(f"Bundle: {result.bundle.path}")
    lines.append(
        f"Reference: {reference}" if reference is not None else f"Digest: sha256:{result.bundle.digest}"
    )
    if tracked is not None:
        lines.append(f"MLflow: run {tracked.run_id} of the experiment {tracked.experiment}")
    if tracked is not None and tracked.registered is not None:
        lines.append(f"Registered: {tracked.registered}")
    return Group(table, "\n".join(lines))


def _is_shard(settings: "TrainingConfig", shard: int, trials: str | None) -> bool:
    """Return whether a number names a shard of the search, and not the run after them.

    Raises:
        ConfigurationError: If there is no such shard, or its trials would not be shared.
    """
    shards = 0 if settings.search is None else settings.search.shards
    if shard > shards or shards == 0:
        expected = f"at most {shards}" if shards else "a configuration with 'search'"
        raise ConfigurationError(f"--shard {shard}: expected {expected}; remove it, or set search.shards.")
    if trials is None:
        raise ConfigurationError("--shard requires --trials, which all shards share: add --trials STORE.")
    return shard < shards


def _run_shard(
    document: "Document",
    settings: "TrainingConfig",
    shard: int,
    trials: str | None,
    jobs: int,
    dask: str | None,
    output: OutputFormat,
) -> None:
    """Run a shard of a search, and print the number of its trials."""
    from tidegate_training.run import SearchRun, search_shard
    from tidegate_training.search.workers import Workers

    with progress() as display, document.locate_field_errors():
        task = display.add_task("starting", total=None)
        n_trials = search_shard(
            settings,
            shard,
            SearchRun(trials, Workers(jobs, dask)),
            base_dir=document.path.parent,
            on_step=lambda step: display.update(task, description=step),
        )
    payload = {"name": settings.name, "shard": shard, "trials": n_trials}
    print_result(output, payload, f"Shard {shard} is finished; {n_trials} trials were run.")


def _verify(source: str, config: Path | None, output: OutputFormat) -> None:
    """Run the training of a bundle again, and print the comparison."""
    from tempfile import TemporaryDirectory

    from rich.text import Text

    from tidegate.settings import Document
    from tidegate.store import fetch
    from tidegate_training.config import TrainingConfig

    document = None if config is None else Document.read(config)
    settings = None if document is None else document.parse_as(TrainingConfig)
    base_dir = Path() if config is None else config.parent
    from tidegate_training.reproduction import reproduce

    with progress() as display, TemporaryDirectory() as cache:
        task = display.add_task("reading the bundle", total=None)
        bundle = fetch(source, Path(cache))
        with nullcontext() if document is None else document.locate_field_errors():
            result = reproduce(
                bundle, settings, base_dir, lambda step: display.update(task, description=step)
            )
    print_result(output, result.to_json(), Text("\n".join(result.sentences())))
    result.require()


def _is_champion(settings: "TrainingConfig", channel: "ChannelReference") -> bool:
    """Return whether a channel is the one that the configuration names as champion."""
    from tidegate.reference import parse_reference

    return settings.champion is not None and parse_reference(settings.champion.reference) == channel


def _first_run_notes(settings: "TrainingConfig", result: "TrainingResult") -> Iterator[str]:
    """Yield what was not compared, because the store has no bundle of the model yet."""
    champion, drift = settings.champion, settings.expectations.drift
    if champion is not None and result.champion is None:
        yield f"{champion.reference} does not exist yet, so the model has no champion to beat."
    if drift is not None and result.drift is None:
        yield f"{drift.reference} does not exist yet, so the data is not compared with earlier data."


def _parity_sentence(parity: "ParityReport") -> str:
    if parity.verdict == "equal":
        return (
            f"Compiled model: equal to scikit-learn on {parity.rows} rows (largest difference "
            f"{parity.max_abs_difference:.2g}). The server uses it."
        )
    return f"Compiled model: {parity.verdict} ({parity.reason}). The server uses scikit-learn instead."


def _report_to_kubernetes(result: "TrainingResult", reference: "Reference | None") -> None:
    """Write the result as one line to the termination message and, in a pod, to the log."""
    from tidegate_training.termination import format_result, is_in_pod, write_termination_message

    line = format_result(
        None if reference is None else str(reference), result.bundle.digest, result.evaluation.metrics
    )
    if is_in_pod():
        stderr.print(line, soft_wrap=True)
    write_termination_message(line)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The training run: data, split, pipeline, evaluation, gates, bundle.

It orders the steps. A run that fails or is stopped, and a model that misses a gate, leave nothing behind;
only SIGKILL can leave a hidden folder next to the bundle.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle import METRICS, MODEL_CARD, Bundle
from tidegate.digest import canonical_json
from tidegate.errors import BundleError, FieldError
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.bundling.bundle import PackagedModel, installed_versions, package_model, write_bundle
from tidegate_training.bundling.converters import with_float64_parameters
from tidegate_training.bundling.features import FeaturePolicy
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.bundling.outputs import detect_outputs, predict_outputs
from tidegate_training.bundling.parity import ParityReport
from tidegate_training.bundling.persistence import to_skops
from tidegate_training.config import FeatureOptions, TrainingConfig
from tidegate_training.evaluation import (
    Metrics,
    Overfitting,
    assess_overfitting,
    classification_metrics,
    metric_gaps,
    regression_metrics,
)
from tidegate_training.gates import GateResult, evaluate_gates, parse_gate, require_gates
from tidegate_training.model_card import render_model_card
from tidegate_training.output_dir import validate_output_dir
from tidegate_training.pipeline import fit_pipeline
from tidegate_training.plots import plot_classification, plot_regression
from tidegate_training.provenance import collect_provenance
from tidegate_training.source import Source, read_source
from tidegate_training.split import Splits, require_classes, require_two_rows, split_rows, weighted_rows
from tidegate_training.table import Table, build_table

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a training run.

    Attributes:
        bundle: The sealed bundle.
        metrics: Metrics by split (train, validation, test) and name.
        gap: By metric, how much worse the test rows are than the training rows.
        overfitting: The verdict on the gap.
        parity: The comparison of the compiled model with scikit-learn.
        gates: The result of each gate; all are passed.
        split_sizes: Rows by split.
        warnings: The warnings of scikit-learn.
    """

    bundle: Bundle
    metrics: dict[str, Metrics]
    gap: Metrics
    overfitting: Overfitting
    parity: ParityReport
    gates: list[GateResult]
    split_sizes: dict[str, int]
    warnings: list[str]


def _ignore_step(step: str) -> None:
    """Report nothing."""


def train(
    config: TrainingConfig,
    directory: Path,
    *,
    joblib: bool = False,
    base_dir: Path | None = None,
    on_step: Callable[[str], None] = _ignore_step,
) -> TrainingResult:
    """Train a model and seal it into a bundle.

    Args:
        config: The configuration.
        directory: The bundle's directory. An existing bundle is replaced, any other content stays untouched.
        joblib: Whether to add ``model.joblib`` to the bundle, for servers that load no other format.
        base_dir: The folder that a relative data path starts from; by default the working directory.
        on_step: Called with the name of each step when the step starts.

    Raises:
        ConfigurationError: If the configuration does not fit the data, or the directory cannot take a bundle.
        DataError: If the data does not fit the configuration.
        GateNotPassedError: If the model misses a gate. Nothing is written.
    """
    from threadpoolctl import threadpool_limits

    validate_output_dir(directory)
    started = datetime.now(UTC)
    base_dir = base_dir or Path()
    # On several threads the order of a sum varies, and with it the last bits of the model and its digest.
    with threadpool_limits(limits=1):
        trained = _fit_and_evaluate(config, base_dir, on_step)
        require_gates(config.name, trained.gates)
        on_step("compiling and comparing")
        packaged = package_model(
            trained.model,
            trained.archive,
            n_golden_rows=config.golden_rows,
            seed=config.seed,
            joblib=joblib,
        )
    on_step("writing the bundle")
    versions = installed_versions()
    bundle = write_bundle(
        directory,
        packaged,
        _build_evidence(config, trained, packaged, versions),
        collect_provenance(base_dir, started),
        algorithm=config.algorithm.name,
        parameters=config.manifest_parameters(),
        seed=config.seed,
        data={"sha256": trained.source.sha256, "rows": len(trained.table)},
        versions=versions,
    )
    return TrainingResult(
        bundle,
        trained.metrics,
        trained.gap,
        trained.overfitting,
        packaged.parity,
        trained.gates,
        trained.split_sizes,
        trained.warnings,
    )


@dataclass(frozen=True, slots=True)
class _TrainedModel:
    """A fitted model with its data, its outputs on each split, and its evaluation."""

    source: Source
    table: Table
    splits: Splits
    archive: bytes
    model: FittedModel
    outputs: dict[str, dict[str, Array]]
    metrics: dict[str, Metrics]
    gap: Metrics
    gates: list[GateResult]
    overfitting: Overfitting
    warnings: list[str]

    @property
    def split_sizes(self) -> dict[str, int]:
        """Rows by split."""
        return {name: len(rows) for name, rows in self.splits.items()}


def _fit_and_evaluate(
    config: TrainingConfig, base_dir: Path, on_step: Callable[[str], None]
) -> _TrainedModel:
    on_step("reading data")
    source = read_source(config.data, base_dir)
    table = build_table(source, config)
    source = source.without_columns()
    splits = _split_table(config, table)
    on_step("fitting")
    fitted, warnings = fit_pipeline(config, table, splits.train)
    archive = _archive(config, with_float64_parameters(fitted))
    # The metrics are those of the pipeline that a server builds, so that a loss in saving shows in them.
    pipeline = _build_as_server(config, archive)
    on_step("evaluating")
    features = table.features
    contract_outputs = detect_outputs(pipeline, features.batch(splits.train[:1]), features.datatypes)
    outputs = {
        name: predict_outputs(pipeline, features.batch(rows), contract_outputs)
        for name, rows in splits.items()
    }
    model = FittedModel(
        config.name,
        config.task,
        pipeline,
        contract_outputs,
        features,
        table.target,
        splits.train,
        splits.test,
        held_out_outputs={
            name: np.concatenate([outputs["validation"][name], outputs["test"][name]])
            for name in outputs["test"]
        },
        policies={name: _feature_policy(config, name) for name in features.datatypes},
    )
    metrics = {
        name: _compute_metrics(config, model, table.target[rows], outputs[name], table.weights_of(rows))
        for name, rows in splits.items()
    }
    gap = metric_gaps(metrics["train"], metrics["test"])
    gates = [parse_gate(key, rule, config.task) for key, rule in config.gates.items()]
    return _TrainedModel(
        source,
        table,
        splits,
        archive,
        model,
        outputs,
        metrics,
        gap,
        evaluate_gates(gates, {**metrics, "gap": gap}),
        assess_overfitting(config.task, metrics["train"], metrics["test"]),
        warnings,
    )


def _archive(config: TrainingConfig, fitted: Any) -> bytes:
    try:
        return to_skops(fitted)
    except Exception as error:  # skops raises any exception, RecursionError included, for what it cannot hold
        raise FieldError(
            ("algorithm",),
            f"the fitted {config.algorithm.name} cannot be saved ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}): remove the parameter that holds a function or an object",
        ) from None


def _build_as_server(config: TrainingConfig, archive: bytes) -> Any:
    """Build the pipeline under the default policy: no bundle is sealed that servers reject."""
    try:
        return build_pipeline(archive, Policy())
    except BundleError as error:
        raise FieldError(
            ("algorithm",),
            f"a server with the default policy rejects this {config.algorithm.name}: choose other parameters "
            f"or another algorithm ({str(error).rstrip('.')})",
        ) from None


def _split_table(config: TrainingConfig, table: Table) -> Splits:
    options = config.split
    stratify = options.stratify
    if stratify is None:
        stratify = config.task == "classification" and options.group is None and options.time is None
    splits = split_rows(
        options,
        len(table),
        config.seed,
        labels=table.target if stratify else None,
        groups=table.groups,
        times=table.times,
    )
    counted = splits if table.weights is None else weighted_rows(splits, table.weights)
    if config.task == "classification":
        require_classes(counted, table.target)
    else:
        require_two_rows(counted)
    return splits


def _feature_policy(config: TrainingConfig, name: str) -> FeaturePolicy:
    options = config.features.overrides.get(name, FeatureOptions())
    return FeaturePolicy(
        handle_unknown=options.handle_unknown,
        sensitivity=options.sensitivity or config.features.sensitivity,
        categorical=options.categorical,
        free_text=options.free_text,
        format=options.format,
        order=None if options.order is None else tuple(options.order),
    )


def _compute_metrics(
    config: TrainingConfig,
    model: FittedModel,
    target: Array,
    outputs: dict[str, Array],
    weights: Array | None,
) -> Metrics:
    if config.task == "regression":
        return regression_metrics(target, outputs, weights)
    labels = list(model.labels)
    # By default the second of two classes is the positive one, as in scikit-learn.
    positive_label = config.positive_label if config.positive_label is not None else labels[1]
    return classification_metrics(target, outputs, labels, positive_label, weights)


def _build_evidence(
    config: TrainingConfig, trained: _TrainedModel, packaged: PackagedModel, versions: dict[str, str]
) -> dict[str, bytes]:
    """Return metrics, model card and plots by the names of their files."""
    target, outputs = trained.table.target[trained.splits.test], trained.outputs["test"]
    if trained.model.labels:
        weights = trained.table.weights_of(trained.splits.test)
        plots = plot_classification(target, outputs, list(trained.model.labels), weights)
    else:
        plots = plot_regression(target, outputs)
    card = render_model_card(
        config,
        packaged.contract,
        source=trained.source.name,
        sha256=trained.source.sha256,
        split_sizes=trained.split_sizes,
        metrics=trained.metrics,
        overfitting=trained.overfitting,
        gates=trained.gates,
        parity=packaged.parity,
        warnings=trained.warnings,
        plots=list(plots),
        versions=versions,
    )
    metrics = {
        **trained.metrics,
        "gap": trained.gap,
        "rows": trained.split_sizes,
        "overfitting": asdict(trained.overfitting),
        "gates": [{"gate": str(result.gate), "value": result.value} for result in trained.gates],
        "warnings": trained.warnings,
    }
    return {METRICS: canonical_json(metrics), MODEL_CARD: card.encode(), **plots}

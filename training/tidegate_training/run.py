# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The run: data → split → pipeline → evaluation → gates → certificate → sealed bundle.

It orders the steps and writes the files. A run that fails or is stopped, or whose model misses a gate,
leaves nothing behind; only after SIGKILL there can be a hidden folder beside the bundle's.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Batch
from tidegate.bundle import (
    BASELINE,
    CONTRACT,
    JOBLIB,
    METRICS,
    MODEL_CARD,
    ONNX,
    PARITY,
    PROVENANCE,
    SKOPS,
    Bundle,
    seal,
)
from tidegate.contract import Contract, Output
from tidegate.digest import canonical_json
from tidegate_training.bundling.baseline import baseline
from tidegate_training.bundling.compile import NotCompiledError, open_session, to_onnx
from tidegate_training.bundling.contract import capture
from tidegate_training.bundling.outputs import answers_of, outputs_of
from tidegate_training.bundling.parity import ROWS_LIMIT, Certificate, compare, not_compiled, probe_rows
from tidegate_training.bundling.persistence import from_skops, to_joblib, to_skops
from tidegate_training.config import TrainingConfig
from tidegate_training.evaluation import (
    Metrics,
    Overfitting,
    classification_metrics,
    gap_of,
    judge,
    regression_metrics,
)
from tidegate_training.gates import GateResult, decide, parse_gate, require
from tidegate_training.model_card import model_card
from tidegate_training.output_dir import check, replacing
from tidegate_training.pipeline import fit
from tidegate_training.plots import classification_plots, regression_plots
from tidegate_training.provenance import provenance
from tidegate_training.source import Source, read
from tidegate_training.split import Parts, divide, require_classes
from tidegate_training.table import Table, make_table

Array = NDArray[Any]

RECORDED = (
    "joblib",
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "pillow",
    "protobuf",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skl2onnx",
    "skops",
    "tidegate",
)
"""Packages whose version can change a byte of the bundle, or whether it loads: what reads the data, fits, and
writes the files. The plots are Pillow's PNG, and the compiled form is protobuf's bytes."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run made: the bundle, and what is worth telling of it.

    Attributes:
        bundle: The sealed bundle.
        metrics: By part (train, validation, test) and metric.
        gap: By metric, how much worse the test part is than the training part.
        overfitting: The verdict on the gap.
        certificate: Whether the compiled form is proven equal.
        gates: What became of each gate; all are passed.
        sizes: Rows by part.
        notes: What scikit-learn warned of.
    """

    bundle: Bundle
    metrics: dict[str, Metrics]
    gap: Metrics
    overfitting: Overfitting
    certificate: Certificate
    gates: list[GateResult]
    sizes: dict[str, int]
    notes: list[str]


def _ignore(step: str) -> None:
    """Report nothing."""


def train(
    config: TrainingConfig,
    directory: Path,
    *,
    joblib: bool = False,
    base: Path | None = None,
    report: Callable[[str], None] = _ignore,
) -> Trained:
    """Train a model and seal it into a bundle.

    Args:
        config: What to train.
        directory: Where the bundle goes. A bundle that is there is replaced, anything else is left alone.
        joblib: Whether the bundle also gets ``model.joblib``, for servers that load nothing else.
        base: The folder that the data's path starts from; the current one by default.
        report: Called with the name of each step as it begins.

    Raises:
        ConfigurationError: The configuration does not fit the data or the folder.
        DataError: The data does not fit what was said of it.
        GateNotPassedError: The model misses a threshold; nothing was written.
    """
    from threadpoolctl import threadpool_limits

    check(directory)
    started = datetime.now(UTC)
    base = base or Path()
    # Linear algebra and boosting run on one thread, as the order of a parallel sum would change the last bits
    # of the model, and so its digest, from one machine to the next.
    with threadpool_limits(limits=1):
        fitted = _fit(config, base, report)
        require(config.name, fitted.gates)
        report("compiling and comparing")
        contract = capture(config, fitted.table, fitted.parts, fitted.pipeline, fitted.outputs)
        compiled, certificate = _certify(fitted.pipeline, contract, fitted.table, config.seed)
    report("writing the bundle")
    versions = {name: version(name) for name in RECORDED}
    files = _evidence(config, contract, fitted, certificate, versions) | {SKOPS: fitted.archive}
    if compiled is not None:
        files[ONNX] = compiled
    if joblib:
        files[JOBLIB] = to_joblib(fitted.pipeline)
    with replacing(directory) as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / PROVENANCE).write_bytes(canonical_json(provenance(base, started)))
        sealed = seal(
            folder,
            name=config.name,
            task=config.task,
            algorithm=config.algorithm.name,
            parameters=config.parameters(),
            seed=config.seed,
            data={"sha256": fitted.source.sha256, "rows": len(fitted.table)},
            versions=versions,
        )
    return Trained(
        Bundle(directory, sealed.digest, sealed.manifest),
        fitted.metrics,
        fitted.gap,
        fitted.overfitting,
        certificate,
        fitted.gates,
        fitted.sizes,
        fitted.notes,
    )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A fitted pipeline, what it was fitted on, and what it answers and is worth."""

    source: Source
    table: Table
    parts: Parts
    archive: bytes
    pipeline: Any
    notes: list[str]
    outputs: tuple[Output, ...]
    labels: list[Any]
    answers: dict[str, dict[str, Array]]
    metrics: dict[str, Metrics]
    gap: Metrics
    gates: list[GateResult]
    overfitting: Overfitting

    @property
    def sizes(self) -> dict[str, int]:
        """Rows by part."""
        return {name: len(rows) for name, rows in self.parts.items()}


def _fit(config: TrainingConfig, base: Path, report: Callable[[str], None]) -> _Fitted:
    report("reading data")
    source = read(config.data, base)
    table = make_table(source, config)
    parts = _divide(config, table)
    report("fitting")
    unsaved, notes = fit(config, table, parts.train)
    archive = to_skops(unsaved)
    # From here on the pipeline is the one that was saved: what the archive lost, the metrics would show.
    pipeline = from_skops(archive)
    report("evaluating")
    outputs = outputs_of(pipeline, table.batch(parts.train[:1]), table.datatypes)
    answers = {name: answers_of(pipeline, table.batch(rows), outputs) for name, rows in parts.items()}
    labels = pipeline.classes_.tolist() if config.task == "classification" else []
    metrics = {
        name: classification_metrics(table.target[rows], answers[name], labels, _positive(config, labels))
        if labels
        else regression_metrics(table.target[rows], answers[name])
        for name, rows in parts.items()
    }
    gap = gap_of(metrics["train"], metrics["test"])
    asked = [parse_gate(key, rule, config.task) for key, rule in config.gates.items()]
    gates = decide(asked, {**metrics, "gap": gap})
    overfitting = judge(config.task, metrics["train"], metrics["test"])
    return _Fitted(
        source,
        table,
        parts,
        archive,
        pipeline,
        notes,
        outputs,
        labels,
        answers,
        metrics,
        gap,
        gates,
        overfitting,
    )


def _evidence(
    config: TrainingConfig,
    contract: Contract,
    fitted: _Fitted,
    certificate: Certificate,
    versions: dict[str, str],
) -> dict[str, bytes]:
    """Every file of the bundle that is no model, by name."""
    test, validation = fitted.answers["test"], fitted.answers["validation"]
    target = fitted.table.target[fitted.parts.test]
    if fitted.labels:
        plots = classification_plots(target, test, fitted.labels)
    else:
        plots = regression_plots(target, test)
    held_out = {name: np.concatenate([validation[name], test[name]]) for name in test}
    card = model_card(
        config,
        contract,
        source=fitted.source.name,
        sha256=fitted.source.sha256,
        sizes=fitted.sizes,
        metrics=fitted.metrics,
        overfitting=fitted.overfitting,
        gates=fitted.gates,
        certificate=certificate,
        notes=fitted.notes,
        plots=list(plots),
        versions=versions,
    )
    measured = {
        **fitted.metrics,
        "gap": fitted.gap,
        "rows": fitted.sizes,
        "overfitting": asdict(fitted.overfitting),
        "gates": [{"gate": str(result.gate), "value": result.value} for result in fitted.gates],
        "notes": fitted.notes,
    }
    return {
        CONTRACT: canonical_json(contract.model_dump(mode="json")),
        PARITY: canonical_json(certificate.payload()),
        BASELINE: canonical_json(baseline(contract, fitted.table, fitted.parts.train, held_out)),
        METRICS: canonical_json(measured),
        MODEL_CARD: card.encode(),
        **plots,
    }


def _divide(config: TrainingConfig, table: Table) -> Parts:
    split = config.split
    stratify = split.stratify
    if stratify is None:
        stratify = config.task == "classification" and split.group is None and split.time is None
    parts = divide(
        split,
        len(table),
        config.seed,
        labels=table.target if stratify else None,
        groups=table.groups,
        times=table.times,
    )
    if config.task == "classification":
        require_classes(parts, table.target)
    return parts


def _positive(config: TrainingConfig, labels: list[Any]) -> Any:
    """scikit-learn's own convention, unless the configuration says otherwise: the second of two."""
    return config.positive_label if config.positive_label is not None else labels[1]


def _certify(pipeline: Any, contract: Contract, table: Table, seed: int) -> tuple[bytes | None, Certificate]:
    """The compiled form, if it is proven equal, and the certificate in any case."""
    try:
        compiled = to_onnx(pipeline, contract.name, table.datatypes, contract.outputs)
        session = open_session(compiled)
    except NotCompiledError as error:
        return None, not_compiled(str(error))
    rows = np.unique(np.linspace(0, len(table) - 1, min(len(table), ROWS_LIMIT)).round().astype(np.intp))
    batch = Batch.concatenate([table.batch(rows), Batch.from_rows(contract, probe_rows(contract, seed))])
    certificate = compare(session, answers_of(pipeline, batch, contract.outputs), batch)
    return (compiled if certificate.verdict == "equal" else None), certificate

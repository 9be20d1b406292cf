# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Seals a fitted model into a bundle.

:func:`package_model` makes contract, model files and parity report in memory; :func:`write_bundle` writes
them with the caller's evidence (metrics, model card, plots), all or nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Array, Batch
from tidegate.bundle import BASELINE, CONTRACT, JOBLIB, ONNX, PARITY, PROVENANCE, SKOPS, Bundle, seal
from tidegate.contract import Contract
from tidegate.digest import canonical_json
from tidegate_training.bundling.baseline import build_baseline
from tidegate_training.bundling.compile import NotCompiledError, open_session, to_onnx
from tidegate_training.bundling.contract import build_contract
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.bundling.onnx_model import OnnxEstimator
from tidegate_training.bundling.parity import BATCH_SIZES, MAX_DATA_ROWS, ParityReport, compare_outputs
from tidegate_training.bundling.persistence import to_joblib
from tidegate_training.bundling.probes import probe_rows
from tidegate_training.bundling.thresholds import threshold_rows
from tidegate_training.output_dir import replace_directory

RECORDED_PACKAGES = (
    "jinja2",
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
"""Packages whose version can change a byte of the bundle, or whether the bundle loads. Jinja2 writes the
report, Pillow the PNG plots, and protobuf the compiled model."""


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A fitted model in the form that a bundle holds.

    Attributes:
        contract: The contract.
        parity: The parity report.
        files: By name, the content of the contract, the model in each format, the parity report and the
            baseline.
    """

    contract: Contract
    parity: ParityReport
    files: Mapping[str, bytes]


def package_model(
    model: FittedModel, archive: bytes | None, *, n_golden_rows: int, seed: int, joblib: bool = False
) -> PackagedModel:
    """Build the contract, compile the pipeline, and compare both forms.

    The same arguments give the same bytes, except where linear algebra runs on several threads: limit it to
    one.

    Args:
        model: The model.
        archive: The skops archive of the model's pipeline; None if it has no such form.
        n_golden_rows: The largest number of golden requests.
        seed: The seed of the random rows in the comparison.
        joblib: Whether to add ``model.joblib``.

    Raises:
        DataError: If no test row can be a golden request.
    """
    contract = build_contract(model, n_golden_rows)
    compiled, parity = compile_and_compare(model, contract, seed)
    files = {
        CONTRACT: canonical_json(contract.model_dump(mode="json")),
        PARITY: canonical_json(parity.to_json()),
        BASELINE: canonical_json(build_baseline(model, contract)),
    }
    if archive is not None:
        files[SKOPS] = archive
    if compiled is not None:
        files[ONNX] = compiled
    if joblib:
        files[JOBLIB] = to_joblib(model.pipeline)
    return PackagedModel(contract, parity, files)


def compile_and_compare(
    model: FittedModel, contract: Contract, seed: int
) -> tuple[bytes | None, ParityReport]:
    """Compile a pipeline to ONNX and compare the two forms on the data and on rows built from the contract.

    Args:
        model: The model.
        contract: Its contract.
        seed: The seed of the random rows.

    Returns:
        The ONNX model, or None unless the verdict is ``equal``; and the report.
    """
    for feature in contract.features:
        if feature.is_free_text:
            reason = (
                "ONNX Runtime splits texts with other characters than ASCII in another way than scikit-learn"
            )
            return None, ParityReport("not compiled", f"the free text '{feature.name}': {reason}")
        if feature.format is not None:
            reason = "ONNX has no operator that parses dates"
            return None, ParityReport("not compiled", f"the {feature.format} '{feature.name}': {reason}")
    try:
        compiled = to_onnx(model.pipeline, contract.name, model.features.datatypes, contract.outputs)
        session = open_session(compiled)
    except NotCompiledError as error:
        return None, ParityReport("not compiled", str(error))
    n_rows = len(model.features)
    rows = np.unique(np.linspace(0, n_rows - 1, min(n_rows, MAX_DATA_ROWS)).round().astype(np.intp))
    data = model.features.batch(rows)
    # The decision threshold is applied to the outputs of both forms, so it needs no comparison.
    batch, original = predict_computable_rows(
        model.predict_pipeline,
        Batch.concatenate([data, probe_rows(contract, seed), threshold_rows(compiled, contract, data)]),
    )
    # A graph of another tool is compared at the batch size of its own outputs: both forms are the same nodes.
    batch_sizes = (BATCH_SIZES[-1],) if isinstance(model.pipeline[-1], OnnxEstimator) else BATCH_SIZES
    report = compare_outputs(session, original, batch, contract.golden.scale, batch_sizes)
    return (compiled if report.verdict == "equal" else None), report


def predict_computable_rows(
    predict: Callable[[Batch], dict[str, Array]], batch: Batch
) -> tuple[Batch, dict[str, Array]]:
    """Compute a batch with scikit-learn, without the rows that it cannot compute.

    A row far outside of the training range can overflow. A server responds to it with an error, whichever
    engine it has.

    Args:
        predict: The function from a batch to its outputs.
        batch: The rows.

    Returns:
        The rows with finite outputs, in order; and by output, ``[rows]`` or ``[rows, width]``.
    """
    try:
        values = predict(batch)
    except Exception:  # scikit-learn raises ValueError for an infinite number; other steps, any exception
        batch = batch.take(_computable(predict, batch))
        values = predict(batch)
    finite = np.ones(len(batch), np.bool_)
    for array in values.values():
        if array.dtype.kind == "f":
            finite &= np.isfinite(array.reshape(len(batch), -1)).all(axis=1)
    if finite.all():
        return batch, values
    return batch.take(finite), {name: array[finite] for name, array in values.items()}


def _computable(predict: Callable[[Batch], dict[str, Array]], batch: Batch) -> NDArray[np.bool_]:
    """Return, as ``[rows]``, whether scikit-learn computes a row, by halving a batch that it does not."""
    try:
        predict(batch)
    except Exception:
        if len(batch) == 1:
            return np.zeros(1, np.bool_)
        middle = len(batch) // 2
        halves = (batch[slice(middle)], batch[slice(middle, None)])
        return np.concatenate([_computable(predict, half) for half in halves])
    return np.ones(len(batch), np.bool_)


def installed_versions() -> dict[str, str]:
    """Return the installed version of each package that can change the bundle."""
    return {name: _installed_version(name) for name in RECORDED_PACKAGES}


# A process keeps the packages that it has imported, so one reading per process is enough.
_installed_version = cache(version)


def write_bundle(
    directory: Path,
    packaged: PackagedModel,
    evidence: Mapping[str, bytes],
    provenance: Mapping[str, Any],
    **manifest: Any,
) -> Bundle:
    """Write and seal a bundle. A failure leaves the directory as it was.

    Args:
        directory: The bundle's directory. An existing bundle is replaced.
        packaged: The model.
        evidence: By name, the content of every other file: metrics, model card, plots.
        provenance: The document ``provenance.json``, outside the digest.
        **manifest: The manifest's fields except the name, the task, and those that sealing adds.

    Raises:
        ConfigurationError: If the directory has other content than a bundle, or cannot be written.
    """
    with replace_directory(directory) as folder:
        for name, content in {**packaged.files, **evidence}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / PROVENANCE).write_bytes(canonical_json(provenance))
        sealed = seal(folder, name=packaged.contract.name, task=packaged.contract.task, **manifest)
    return Bundle(directory, sealed.digest, sealed.manifest)

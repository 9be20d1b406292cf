# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The last part of every way to a bundle: build as a server builds, package, document, and seal.

A training run and a model that is fitted already end here, so their bundles have the same proof. It fits
nothing and computes no metrics.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tidegate.bundle import METRICS, MODEL_CARD, REPORT, Bundle
from tidegate.charts import render_svg, standalone_svg
from tidegate.digest import canonical_json
from tidegate.errors import BundleError, ConfigurationError
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.bundling.boosters import LIBRARY_TYPES, used_libraries
from tidegate_training.bundling.bundle import PackagedModel, installed_versions, package_model, write_bundle
from tidegate_training.bundling.catboost_trees import without_fit_metadata
from tidegate_training.bundling.contract import build_contract
from tidegate_training.bundling.converters import with_float64_parameters
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.bundling.onnx_model import OnnxEstimator
from tidegate_training.bundling.parity import ParityReport
from tidegate_training.bundling.persistence import to_skops
from tidegate_training.evaluation.evaluation import Evaluation
from tidegate_training.evaluation.plots import plot_evaluation
from tidegate_training.model_card import CardContext, render_model_card
from tidegate_training.networks.estimators import keras_libraries, without_keras
from tidegate_training.report import render_report


def ignore_step(step: str) -> None:
    """Report nothing: the default of callers that show no progress."""


@dataclass(frozen=True, slots=True)
class ServerBuild:
    """A fitted pipeline as a server builds it.

    Attributes:
        archive: The skops archive; None for a graph of another tool, which has no other form.
        pipeline: The pipeline that was built from the archive.
        rejection: The error of a server that needs the archive, if the policy does not trust the types of a
            library of boosters.
        libraries: The versions of the libraries other than scikit-learn that fitted the pipeline, by name.
    """

    archive: bytes | None
    pipeline: Any
    rejection: str | None = None
    libraries: dict[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """The model that a compiled form is compared with, for the model card."""
        if self.archive is None:
            return "the file's own graph"
        return "the layers of Keras as arrays" if "keras" in self.libraries else "scikit-learn"


class NotSavedError(Exception):
    """An error for a pipeline that skops cannot hold; the message is the reason."""


def build_as_server(pipeline: Any, policy: Policy) -> ServerBuild:
    """Save a fitted pipeline, and build it as a server with this policy does.

    Metrics and comparisons use the built pipeline, so that a loss in saving shows in them. A network of Keras
    is saved as its layers. The types of a library of boosters are built here in any case, because no server
    needs them if the model is compiled.

    Raises:
        NotSavedError: If the pipeline holds an object that skops cannot save.
        BundleError: If the policy does not trust a type of the pipeline.
    """
    if isinstance(pipeline[-1], OnnxEstimator):
        return ServerBuild(None, pipeline)
    libraries = used_libraries(pipeline) | keras_libraries(pipeline)
    try:
        archive = to_skops(without_fit_metadata(with_float64_parameters(without_keras(pipeline))))
    except Exception as error:  # skops raises any exception, RecursionError included, for what it cannot hold
        reason = " ".join(str(error).split())[:200]
        raise NotSavedError(f"{type(error).__name__}: {reason}") from None
    try:
        return ServerBuild(archive, build_pipeline(archive, policy), libraries=libraries)
    except BundleError as error:
        policy = replace(policy, trusted_types=policy.trusted_types | LIBRARY_TYPES)
        return ServerBuild(archive, build_pipeline(archive, policy), str(error).rstrip("."), libraries)


@dataclass(frozen=True, slots=True)
class SealedModel:
    """A bundle, and the parity report in it."""

    bundle: Bundle
    parity: ParityReport


def seal_model(
    model: FittedModel,
    built: ServerBuild,
    evaluation: Evaluation,
    context: CardContext,
    directory: Path,
    *,
    data: Mapping[str, Any],
    parameters: Mapping[str, Any],
    seed: int,
    n_golden_rows: int,
    joblib: bool,
    collect_provenance: Callable[[], Mapping[str, Any]],
    on_step: Callable[[str], None],
) -> SealedModel:
    """Package a model with its evidence, and seal it into a bundle.

    Args:
        model: The model.
        built: Its pipeline as a server builds it.
        evaluation: The evaluation.
        context: What the model card says besides.
        directory: The bundle's directory. An existing bundle is replaced, any other content stays untouched.
        data: The manifest's description of the data: SHA-256 and rows.
        parameters: The manifest's parameters.
        seed: The seed, also of the random rows of the comparison.
        n_golden_rows: The largest number of golden requests.
        joblib: Whether to add ``model.joblib``, for servers that load no other format.
        collect_provenance: Returns the document ``provenance.json``; called last.
        on_step: Called with the name of each step when the step starts.

    Raises:
        ConfigurationError: If the directory cannot take a bundle, or the model is not compiled and a server
            rejects the archive.
        DataError: If no row can be a golden request.
    """
    from threadpoolctl import threadpool_limits

    on_step("compiling and comparing")
    # On several threads the order of a sum varies, and with it the last bits of outputs and the digest.
    with threadpool_limits(limits=1):
        packaged = package_model(model, built.archive, n_golden_rows=n_golden_rows, seed=seed, joblib=joblib)
    if built.archive is None and packaged.parity.verdict != "equal":
        raise ConfigurationError(
            f"The ONNX model cannot be served, because the bundle's form of it differs from the file's: "
            f"{packaged.parity.reason}."
        )
    if built.rejection is not None and packaged.parity.verdict != "equal":
        raise ConfigurationError(
            f"The {context.algorithm} cannot be served: it is not compiled ({packaged.parity.reason}), and "
            f"{built.rejection}. Choose other parameters, or bundle the fitted model with these types as "
            "trusted_types and serve it from an image with the library."
        )
    on_step("writing the bundle")
    versions = installed_versions() | built.libraries
    bundle = write_bundle(
        directory,
        packaged,
        _build_evidence(model, packaged, evaluation, context, versions, built.reference),
        collect_provenance(),
        algorithm=context.algorithm,
        parameters=dict(parameters),
        seed=seed,
        data=dict(data),
        versions=versions,
    )
    return SealedModel(bundle, packaged.parity)


def _build_evidence(
    model: FittedModel,
    packaged: PackagedModel,
    evaluation: Evaluation,
    context: CardContext,
    versions: Mapping[str, str],
    reference: str,
) -> dict[str, bytes]:
    """Return metrics, model card, report and plots by the names of their files."""
    plots = _render_plots(model, evaluation)
    pictures = {f"plots/{name}.svg": standalone_svg(svg).encode() for name, svg in plots.items()}
    card = render_model_card(
        packaged.contract,
        replace(context, reference=reference),
        evaluation,
        parity=packaged.parity,
        plots=list(pictures),
        versions=versions,
    )
    report = render_report(packaged.contract, context, evaluation, plots)
    return {
        METRICS: canonical_json(evaluation.to_json()),
        MODEL_CARD: card.encode(),
        REPORT: report.encode(),
        **pictures,
    }


def describe_rejected(
    model: FittedModel,
    evaluation: Evaluation,
    context: CardContext,
    rejection: str,
    *,
    findings: Sequence[str],
    n_golden_rows: int,
) -> dict[str, bytes]:
    """Return report and metrics of a model that becomes no bundle, by the names of their files.

    Args:
        model: The model.
        evaluation: The evaluation.
        context: What the report says besides.
        rejection: The reason.
        findings: Sentences that are not about the evaluation.
        n_golden_rows: The largest number of golden requests.

    Raises:
        DataError: If no row can be a golden request.
    """
    contract, plots = build_contract(model, n_golden_rows), _render_plots(model, evaluation)
    report = render_report(contract, context, evaluation, plots, rejection=rejection, findings=findings)
    metrics = {**evaluation.to_json(), "rejection": rejection, "findings": list(findings)}
    return {METRICS: canonical_json(metrics), REPORT: report.encode()}


def _render_plots(model: FittedModel, evaluation: Evaluation) -> dict[str, str]:
    return {name: render_svg(draw) for name, draw in plot_evaluation(model, evaluation).items()}

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Tracking: a training run in MLflow, with parameters, metrics, artifacts and the bundle's reference.

MLflow has a copy, to compare runs. Everything is in the bundle, no command needs MLflow, and a server that
fails costs a run its entry and nothing else. The data is never sent.
"""

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from tidegate.bundle import METRICS, MODEL_CARD, REPORT, Bundle
from tidegate.contract import Sensitivity
from tidegate.errors import ConfigurationError, ServerError
from tidegate.inspection import read_provenance
from tidegate.mlflow_registry import DIGEST_TAG, REFERENCE_TAG, without_credentials
from tidegate.reference import Reference

if TYPE_CHECKING:
    from mlflow import MlflowClient

CLIENT_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Variables of MLflow's client that the environment may set. Its own defaults retry for minutes."""

EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
"""The variable with the name of the experiment, as for MLflow's own clients; by default the model's name."""

_MAX_PARAMETERS = 100
"""Parameters per request, from MLflow's documentation of log-batch."""

_MAX_METRICS = 1_000
"""Metrics per request, from the same place."""

_MAX_VALUE_LENGTH = 500
_NOT_ALLOWED = re.compile(r"[^\w./ -]")


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run in MLflow.

    Attributes:
        run_id: The run's id.
        experiment: The name of its experiment.
        registered: The name and the version of the registered model, as ``name/version``; None without one.
    """

    run_id: str
    experiment: str
    registered: str | None


def require_mlflow(option: str) -> None:
    """Check that MLflow is installed.

    Args:
        option: The option that needs it, for the message.

    Raises:
        ConfigurationError: If it is not.
    """
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import_module("mlflow")
    except ImportError:
        raise ConfigurationError(
            f"{option}: expected MLflow, which is not installed; install tidegate[mlflow]."
        ) from None


def track_run(
    bundle: Bundle,
    configuration: Path,
    uri: str,
    reference: Reference | None = None,
    registered_name: str | None = None,
) -> TrackedRun:
    """Log a training run, and register its bundle.

    Args:
        bundle: The bundle of the run.
        configuration: The YAML file of the run.
        uri: The address of MLflow's server, or another one that MLflow's client takes.
        reference: The bundle in a store; None if it is in none.
        registered_name: The model of the registry that gets a version; needs the reference.

    Raises:
        ConfigurationError: If MLflow is not installed.
        ServerError: If MLflow cannot be reached, or rejects the run.
    """
    require_mlflow("MLFLOW_TRACKING_URI")
    try:
        with redirect_stdout(io.StringIO()):  # MLflow prints addresses between the lines of a script's JSON
            return _track(bundle, configuration, uri, reference, registered_name)
    except Exception as error:  # MLflow's client, its transport and its artifact stores raise what they like
        lines = str(error).splitlines() or [type(error).__name__]
        raise ServerError(
            f"MLflow at {without_credentials(uri)} has no complete entry of the run: "
            f"{without_credentials(lines[0]).rstrip('.')}; check the address, the credentials and its log. "
            "The bundle is complete."
        ) from None


def _track(
    bundle: Bundle, configuration: Path, uri: str, reference: Reference | None, registered_name: str | None
) -> TrackedRun:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(tracking_uri=uri)
    experiment = os.environ.get(EXPERIMENT, bundle.manifest.name)
    known = client.get_experiment_by_name(experiment)
    experiment_id = client.create_experiment(experiment) if known is None else known.experiment_id
    tags = {DIGEST_TAG: bundle.digest} | ({} if reference is None else {REFERENCE_TAG: str(reference)})
    provenance = read_provenance(bundle)
    if not isinstance(provenance, dict):
        provenance = {}
    if provenance.get("commit"):
        tags["mlflow.source.git.commit"] = provenance["commit"]
    run = client.create_run(
        experiment_id, _milliseconds(provenance.get("started")), tags, run_name=bundle.manifest.name
    )
    run_id = run.info.run_id
    status = "FAILED"
    try:
        now = run.info.start_time
        metrics = [Metric(name, value, now, 0) for name, value in collect_metrics(bundle)]
        parameters = [Param(name, value) for name, value in collect_parameters(bundle)]
        for start in range(0, len(metrics), _MAX_METRICS):
            client.log_batch(run_id, metrics=metrics[start : start + _MAX_METRICS])
        for start in range(0, len(parameters), _MAX_PARAMETERS):
            client.log_batch(run_id, params=parameters[start : start + _MAX_PARAMETERS])
        for file in collect_artifacts(bundle, configuration):
            client.log_artifact(run_id, str(file))
        registered = None
        if registered_name is not None:
            registered = _register(client, registered_name, run_id, run.info.artifact_uri, tags)
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status, _milliseconds(provenance.get("finished")))
    return TrackedRun(run_id, experiment, registered)


def _register(
    client: "MlflowClient", name: str, run_id: str, artifact_uri: str, tags: Mapping[str, str]
) -> str:
    """Create a version of a registered model whose tags name the bundle."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name)
    # The registry holds no bytes of the model: the artifacts of the run are its source.
    version = client.create_model_version(name, artifact_uri, run_id, dict(tags), await_creation_for=0)
    return f"{name}/{version.version}"


def collect_parameters(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a run: algorithm, its parameters, seed and data. No value is of the data."""
    manifest = bundle.manifest
    yield "algorithm", manifest.algorithm
    yield from _flatten("parameters", manifest.parameters)
    yield "seed", str(manifest.seed)
    yield from _flatten("data", manifest.data.model_dump())


def collect_metrics(bundle: Bundle) -> Iterator[tuple[str, float]]:
    """Yield each metric as ``split.metric``, and its interval as ``split.metric.low`` and ``.high``."""
    document = from_json(bundle.read(METRICS))
    intervals = document.get("intervals", {})
    for split in document.get("rows", {}):
        for metric, value in document[split].items():
            if value is None:
                continue
            name = _NOT_ALLOWED.sub("_", f"{split}.{metric}")
            yield name, float(value)
            if interval := intervals.get(split, {}).get(metric):
                yield f"{name}.low", float(interval["low"])
                yield f"{name}.high", float(interval["high"])


def collect_artifacts(bundle: Bundle, configuration: Path) -> list[Path]:
    """Return the files of a run; none of a model with a restricted feature.

    Evaluation, report, card and configuration name groups, ranges and categories: values of the data.

    Args:
        bundle: The bundle of the run.
        configuration: The YAML file of the run.
    """
    if any(feature.sensitivity is Sensitivity.RESTRICTED for feature in bundle.contract.features):
        return []
    return [*(bundle.path / name for name in (METRICS, REPORT, MODEL_CARD) if name in bundle), configuration]


def _flatten(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flatten(f"{name}.{key}", inner)
    else:
        yield _NOT_ALLOWED.sub("_", name), str(value)[:_MAX_VALUE_LENGTH]


def _milliseconds(time: str | None) -> int | None:
    return None if time is None else round(datetime.fromisoformat(time).timestamp() * 1000)

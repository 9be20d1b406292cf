# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The training run: data, split, pipeline, evaluation, gates, bundle.

It orders the steps. A run that fails or is stopped, and a model that misses a gate, leave nothing behind;
only SIGKILL can leave a hidden folder next to the bundle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle import METRICS, REPORT, Bundle
from tidegate.digest import canonical_json
from tidegate.errors import BundleError, FieldError, GateNotPassedError
from tidegate.trust.policy import Policy
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.bundling.parity import ParityReport
from tidegate_training.champion import Comparison, read_champion, require_better
from tidegate_training.config import TrainingConfig
from tidegate_training.cross_validation import cross_validate
from tidegate_training.curves import diagnose
from tidegate_training.data.drift import DriftReport, read_drift
from tidegate_training.data.expectations import require_expectations
from tidegate_training.data.grouping import group_users
from tidegate_training.data.leakage import find_leakage
from tidegate_training.data.source import Source, read_source
from tidegate_training.data.split import Splits, require_classes, require_two_rows, split_rows, weighted_rows
from tidegate_training.data.table import Table, build_table, find_unused_times
from tidegate_training.environment import describe_environment
from tidegate_training.evaluation.breakdown import Grouping
from tidegate_training.evaluation.estimates import Evaluator
from tidegate_training.evaluation.evaluation import Evaluation, evaluate
from tidegate_training.evaluation.leaderboard import SearchResult
from tidegate_training.evaluation.metrics import choose_positive_label
from tidegate_training.evaluation.overfitting import COMPARED_METRICS
from tidegate_training.gates import parse_gate, require_gates
from tidegate_training.model_card import CardContext
from tidegate_training.modelling import build_model
from tidegate_training.output_dir import validate_output_dir, validate_report_dir, write_report_dir
from tidegate_training.pipeline import fit_pipeline
from tidegate_training.provenance import collect_provenance
from tidegate_training.sealing import (
    NotSavedError,
    ServerBuild,
    build_as_server,
    describe_rejected,
    ignore_step,
    seal_model,
)
from tidegate_training.search.nested import make_studies, run_shards, search_algorithm
from tidegate_training.search.sampling import require_optuna
from tidegate_training.search.storage import open_storage, search_versions
from tidegate_training.search.study import Problem, configure
from tidegate_training.search.workers import Workers

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class SearchRun:
    """The way in which a search runs. It changes no result.

    Attributes:
        trials: The folder or the store of the finished trials; by default a folder next to the bundle.
        workers: The processes that run the trials.
        wait: Whether other processes run the shards, and this one waits for them.
        recorded: The result of an earlier search, which replaces the search.
    """

    trials: str | None = None
    workers: Workers = field(default_factory=Workers)
    wait: bool = False
    recorded: SearchResult | None = None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a training run.

    Attributes:
        bundle: The sealed bundle.
        evaluation: Metrics, overfitting, gates and warnings.
        parity: The comparison of the compiled model with scikit-learn.
        champion: The comparison with the champion; None without one.
        drift: The drift of the data from that of a predecessor; None without one.
    """

    bundle: Bundle
    evaluation: Evaluation
    parity: ParityReport
    champion: Comparison | None = None
    drift: DriftReport | None = None


def train(
    config: TrainingConfig,
    directory: Path,
    *,
    joblib: bool = False,
    report_dir: Path | None = None,
    base_dir: Path | None = None,
    enforce_gates: bool = True,
    search: SearchRun | None = None,
    on_step: Callable[[str], None] = ignore_step,
) -> TrainingResult:
    """Train a model and seal it into a bundle.

    Args:
        config: The configuration.
        directory: The bundle's directory. An existing bundle is replaced, any other content stays untouched.
        joblib: Whether to add ``model.joblib`` to the bundle, for servers that load no other format.
        report_dir: A folder for report and metrics, also of a model that misses a gate.
        base_dir: The folder that a relative data path starts from; by default the working directory.
        enforce_gates: Whether a missed gate ends the run. The evaluation has the results in any case.
        search: How a search runs; by default in this process, with its trials next to the bundle.
        on_step: Called with the name of each step when the step starts.

    Raises:
        ConfigurationError: If the configuration does not fit the data, or the directory cannot take a bundle.
        DataError: If the data does not fit the configuration.
        GateNotPassedError: If the model misses a gate, or may not replace the champion. Nothing is written,
            except to ``report_dir``.
    """
    from threadpoolctl import threadpool_limits

    validate_output_dir(directory)
    if report_dir is not None:
        validate_report_dir(report_dir, directory)
    started = datetime.now(UTC)
    base_dir = base_dir or Path()
    config = _as_recorded(config)
    search = search or SearchRun()
    if config.search is not None and search.recorded is None:
        require_optuna()
    # On several threads the order of a sum varies, and with it the last bits of the model and its digest.
    with threadpool_limits(limits=1):
        trained = _fit_and_evaluate(
            config, base_dir, replace(search, trials=search.trials or f"{directory}.trials"), on_step
        )
        environment = describe_environment()
    context = _describe(trained)
    try:
        if enforce_gates:
            require_gates(config.name, trained.evaluation.gates)
        if config.champion is not None and trained.champion is not None:
            require_better(config.name, config.champion, trained.champion)
    except GateNotPassedError as error:
        if report_dir is None:
            raise
        on_step("writing the report")
        rejected = describe_rejected(
            trained.model,
            trained.evaluation,
            context,
            str(error),
            findings=_sentences(trained),
            n_golden_rows=config.golden_rows,
        )
        write_report_dir(report_dir, rejected)
        raise GateNotPassedError(f"{error} The report is {report_dir / REPORT}.") from None
    repeated = {
        "configuration": config.model_dump(mode="json", exclude_unset=True),
        "environment": environment,
        "champion": None if trained.champion is None else trained.champion.to_json(),
        "drift": None if trained.drift is None else trained.drift.to_json(),
    }
    sealed = seal_model(
        trained.model,
        trained.built,
        trained.evaluation,
        context,
        directory,
        data={"sha256": trained.source.sha256, "rows": len(trained.table)},
        parameters=trained.config.manifest_parameters(),
        seed=config.seed,
        n_golden_rows=config.golden_rows,
        joblib=joblib,
        collect_provenance=partial(collect_provenance, base_dir, started, repeated),
        on_step=on_step,
    )
    if report_dir is not None:
        write_report_dir(report_dir, {name: sealed.bundle.read(name) for name in (METRICS, REPORT)})
    return TrainingResult(sealed.bundle, trained.evaluation, sealed.parity, trained.champion, trained.drift)


@dataclass(frozen=True, slots=True)
class _TrainedModel:
    """A fitted model with its data and its evaluation; the configuration is that of the search's winner."""

    config: TrainingConfig
    source: Source
    table: Table
    built: ServerBuild
    model: FittedModel
    evaluation: Evaluation
    champion: Comparison | None
    drift: DriftReport | None


def _sentences(trained: _TrainedModel) -> list[str]:
    """Return the comparisons with predecessors in words."""
    drift = [] if trained.drift is None else trained.drift.sentences
    return drift + ([] if trained.champion is None else trained.champion.sentences)


def _fit_and_evaluate(
    config: TrainingConfig, base_dir: Path, search: SearchRun, on_step: Callable[[str], None]
) -> _TrainedModel:
    source, drift = _read_expected(config, base_dir, on_step)
    table = build_table(source, config)
    champion = None
    if config.champion is not None:
        on_step("reading the champion")
        champion = read_champion(config, source)
    unused_times = find_unused_times(source, config)
    source = source.without_columns()
    splits = _split_table(config, table)
    searched = None
    if config.search is not None:
        searched = search.recorded or search_algorithm(
            _open_problem(config, source, table, search),
            splits.train,
            workers=search.workers,
            wait=search.wait,
            on_step=on_step,
        )
        config = configure(config, searched.winner)
    on_step("fitting")
    fitted, warnings = fit_pipeline(config, table, splits.train)
    built = _build_as_server(config, fitted)
    on_step("evaluating")
    model, predicted = build_model(config, table, built.pipeline, dict(splits.items()))
    positive_label = choose_positive_label(config.positive_label, model.labels)
    costs = _cost_matrix(config, model.labels)
    cross_validation = None
    if config.evaluation.cross_validation is not None:
        on_step("cross-validating")
        cross_validation = cross_validate(config, table, splits, model.threshold, costs)
    leakage = []
    if config.is_supervised and config.task != "recommendation":
        leakage = find_leakage(
            table.features,
            table.target,
            splits,
            texts=[name for name, policy in model.policies.items() if policy.free_text or policy.format],
            unused_times=unused_times,
        )
    diagnosis = None
    if config.diagnosis is not None:
        on_step("diagnosing")
        diagnosis = diagnose(config, table, splits, model.threshold)
    evaluation = evaluate(
        Evaluator(model, positive_label, costs=costs, units=table.groups, seed=config.seed),
        dict(splits.items()),
        predicted,
        gates=[parse_gate(key, rule, config.task) for key, rule in config.gates.items()],
        warnings=[*warnings, *leakage],
        groups=_groups(config, table, splits),
        cross_validation=cross_validation,
        diagnosis=diagnosis,
        search=searched,
    )
    comparison = None
    if champion is not None:
        on_step("comparing with the champion")
        comparison = champion.compare(config, table, splits.test, model.labels, predicted["test"])
    return _TrainedModel(config, source, table, built, model, evaluation, comparison, drift)


def search_shard(
    config: TrainingConfig,
    shard: int,
    search: SearchRun,
    *,
    base_dir: Path,
    on_step: Callable[[str], None] = ignore_step,
) -> int:
    """Run the trials of one shard that are not finished, and return their number.

    Args:
        config: The configuration.
        shard: The number of the shard, from 0.
        search: The storage of the trials, and the workers.
        base_dir: The folder that a relative data path starts from.
        on_step: Called with the name of each step when the step starts.

    Raises:
        ConfigurationError: If the configuration does not fit the data.
        DataError: If the data does not fit the configuration, or misses an expectation.
        StoreError: If the storage is unreachable or fails.
    """
    require_optuna()
    config = _as_recorded(config)
    source, _ = _read_expected(config, base_dir, on_step)
    table = build_table(source, config)
    splits = _split_table(config, table)
    problem = _open_problem(config, source, table, search)
    studies = make_studies(config, table, splits.train)
    return run_shards(problem, studies, [shard], search.workers, on_step)


def _as_recorded(config: TrainingConfig) -> TrainingConfig:
    """Return the configuration as the provenance has it: sorted, so the order in a file changes no bit."""
    return TrainingConfig.model_validate_json(
        canonical_json(config.model_dump(mode="json", exclude_unset=True))
    )


def _read_expected(
    config: TrainingConfig, base_dir: Path, on_step: Callable[[str], None]
) -> tuple[Source, DriftReport | None]:
    """Read the data, check that it meets every expectation, and return it with its drift."""
    on_step("reading data")
    source = read_source(config.data, base_dir)
    drift = None
    if config.expectations.drift is not None:
        on_step("comparing the data with its predecessor's")
        drift = read_drift(config.expectations.drift, config.name, source)
    require_expectations(source, config.expectations, () if drift is None else drift.violations)
    return source, drift


def _open_problem(config: TrainingConfig, source: Source, table: Table, search: SearchRun) -> Problem:
    """Return the search of a configuration, with the storage of its trials."""
    assert config.search is not None  # the caller's condition
    assert search.trials is not None  # the caller has replaced the default
    labels: list[int | str] = []
    if config.task == "classification" and table.target is not None:
        labels = np.unique(table.target).tolist()
    return Problem(
        config,
        table,
        config.search.metric or COMPARED_METRICS[config.task],
        _cost_matrix(config, labels),
        open_storage(config, source.sha256, search_versions(config), search.trials),
    )


def _groups(config: TrainingConfig, table: Table, splits: Splits) -> Mapping[str, Grouping]:
    """Return the groups that have metrics of their own; those of a recommendation are users by activity."""
    if config.task != "recommendation":
        return table.evaluation_groups
    users = next(iter(table.features.columns.values()))
    return {"training interactions": group_users(users, splits.train)}


def _cost_matrix(config: TrainingConfig, labels: Sequence[int | str]) -> Array | None:
    """Return the cost by true and predicted class, ``[classes, classes]``; None without costs.

    Raises:
        FieldError: If the costs do not fit the classes.
    """
    options = config.evaluation
    costs = options.costs or (None if config.threshold is None else config.threshold.costs)
    if costs is None and options.cost_matrix is None:
        return None
    matrix = np.zeros((len(labels), len(labels)))
    names = [str(label) for label in labels]
    if options.cost_matrix is not None:
        for actual, row in options.cost_matrix.items():
            for predicted, cost in row.items():
                for name in (actual, predicted):
                    if name not in names:
                        raise FieldError(
                            ("evaluation", "cost_matrix", actual),
                            f"'{name}' is not a class, expected one of {', '.join(names)}",
                        )
                matrix[names.index(actual), names.index(predicted)] = cost
        return matrix
    assert costs is not None
    if len(labels) != 2:
        raise FieldError(
            ("evaluation", "costs"),
            f"expected two classes, and the data has {len(labels)}: set evaluation.cost_matrix instead",
        )
    positive = list(labels).index(choose_positive_label(config.positive_label, labels))
    matrix[1 - positive, positive] = costs.false_positive
    matrix[positive, 1 - positive] = costs.false_negative
    return matrix


def _build_as_server(config: TrainingConfig, fitted: Any) -> ServerBuild:
    """Build the pipeline under the default policy: no bundle is sealed that servers reject."""
    try:
        return build_as_server(fitted, Policy())
    except NotSavedError as error:
        raise FieldError(
            ("algorithm",),
            f"the fitted {config.algorithm.name} cannot be saved ({error}): remove the parameter that holds "
            "a function or an object",
        ) from None
    except BundleError as error:
        raise FieldError(
            ("algorithm",),
            f"a server with the default policy rejects this {config.algorithm.name}: choose other parameters "
            f"or another algorithm ({str(error).rstrip('.')})",
        ) from None


def _split_table(config: TrainingConfig, table: Table) -> Splits:
    options = config.split
    stratify = options.stratify
    users = next(iter(table.features.columns.values())) if config.task == "recommendation" else None
    if stratify is None:
        stratify = config.task == "classification" and options.group is None and options.time is None
    splits = split_rows(
        options,
        len(table),
        config.seed,
        labels=table.target if stratify else None,
        groups=table.groups,
        times=table.times,
        users=users,
    )
    counted = splits if table.weights is None else weighted_rows(splits, table.weights)
    if config.task == "classification":
        assert table.target is not None
        require_classes(counted, table.target)
    elif config.task == "regression":
        require_two_rows(counted)
    return splits


def _describe(trained: _TrainedModel) -> CardContext:
    """Return the model card's facts of the configuration and the data."""
    config = trained.config
    split = config.split
    if config.task == "recommendation":
        order = f"seed {config.seed}" if split.time is None else f"the latest (column '{split.time}') test"
        how = f"among the interactions of each user, {order}"
    elif split.time is not None:
        how = f"by time (column '{split.time}'): the training rows are the earliest, the test rows the latest"
    elif split.group is not None:
        how = f"by group (column '{split.group}'): no group is in two splits"
    else:
        how = f"at random, seed {config.seed}"
    rows = ", ".join(f"{name} {count}" for name, count in trained.evaluation.sizes.items())
    numeric = config.preprocessing.numeric
    target = "without a target" if config.target_column is None else f"target '{config.target}'"
    data = (
        f"{trained.source.name}, {target}, SHA-256 `{trained.source.sha256}`.\n\n"
        f"Split {how}. Rows: {rows}. Preprocessing and estimator were fitted on the training rows alone."
    )
    if config.sample_weight is not None:
        data += (
            f" A row counts by its weight, column '{config.sample_weight}', in the estimator"
            f"{'' if config.task == 'recommendation' else ' and in the metrics'}."
        )
    return CardContext(
        config.model_card,
        config.algorithm.name,
        config.algorithm.parameters,
        data,
        None
        if config.task == "recommendation"
        else f"impute={numeric.impute}, scale={numeric.scale}, float_dtype={config.float_dtype}",
        None if config.threshold is None else config.threshold.origin("validation"),
    )

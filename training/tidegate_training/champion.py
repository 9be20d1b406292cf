# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The champion: a bundle in a store that a new model, the challenger, must beat on the same test rows.

The champion receives the rows as its own contract describes them, so the models may have other features. The
comparison leaves no trace in the bundle, because a bundle depends on configuration, data and versions alone.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Batch
from tidegate.contract import Contract, Datatype, Feature
from tidegate.errors import ConfigurationError, DataError, FieldError, GateNotPassedError
from tidegate.outputs import LABEL, PREDICTION
from tidegate.reference import Reference
from tidegate.store import Store
from tidegate_training.bundled_model import BundledModel
from tidegate_training.bundling.features import FeatureTable, Indices
from tidegate_training.config import Champion as ChampionOptions
from tidegate_training.config import DatatypeName, FeatureOptions, Features, TrainingConfig
from tidegate_training.data.source import Source
from tidegate_training.data.table import Table, build_table, read_groups
from tidegate_training.evaluation.paired import PairedResult, compare_labels, compare_values
from tidegate_training.predecessor import find_predecessor

Array = NDArray[Any]

MAX_GROUPS = 50
"""Largest number of groups, because of many groups some differ by chance."""

_DATATYPE_NAMES: dict[Datatype, DatatypeName] = {
    Datatype.FP32: "float32",
    Datatype.FP64: "float64",
    Datatype.INT32: "int32",
    Datatype.INT64: "int64",
    Datatype.BOOL: "bool",
    Datatype.BYTES: "text",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The challenger next to the champion.

    Attributes:
        reference: The champion.
        same_split: Whether the champion was trained with the same data, seed and split. Otherwise some test
            rows may be among its training rows, which makes the champion look better.
        overall: The result on all test rows.
        groups: The result by group.
    """

    reference: Reference
    same_split: bool
    overall: PairedResult
    groups: dict[str, PairedResult]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document."""
        return asdict(self) | {"reference": str(self.reference)}

    @property
    def sentences(self) -> list[str]:
        """The result in words."""
        sentences = [f"Champion {self.reference}: the new model has {self.overall}."]
        sentences += [f"For {group}: {result}." for group, result in self.groups.items()]
        if not self.same_split:
            sentences.append("The champion may know some test rows from its training, which favors it.")
        return sentences

    def failures(self, options: ChampionOptions) -> list[str]:
        """Return the reasons for which the champion stays; none if the challenger may replace it."""
        accepted = {"better": ("better",), "not_worse": ("better", "undecided")}[options.require]
        reasons = [] if self.overall.verdict in accepted else [f"it has {self.overall}"]
        return reasons + [
            f"it is worse for {options.group} {group}, with {result}"
            for group, result in self.groups.items()
            if result.verdict == "worse"
        ]


@dataclass(frozen=True, slots=True)
class Champion:
    """A champion with the rows as it takes them.

    Attributes:
        reference: The bundle.
        model: Its model.
        features: All rows, with the champion's features.
        groups: ``[rows]``, the group of each row; None without groups.
        same_split: Whether it was trained with the same data, seed and split.
    """

    reference: Reference
    model: BundledModel
    features: FeatureTable
    groups: Array | None
    same_split: bool

    def compare(
        self, config: TrainingConfig, table: Table, rows: Indices, labels: tuple[int | str, ...], outputs: Any
    ) -> Comparison:
        """Compare the challenger's outputs with the champion's.

        Args:
            config: The configuration.
            table: The rows, with their true values.
            rows: The numbers of the test rows, ``[rows]``. Those with the weight 0 do not count.
            labels: The challenger's classes; empty for a regression.
            outputs: By output, ``[rows]``: the challenger's outputs for these rows.

        Raises:
            FieldError: If the champion has other classes, or another number of values per row.
            DataError: If the champion fails on a row.
        """
        assert table.target is not None  # the task has one
        name = LABEL if config.task == "classification" else PREDICTION
        self._require_same_outputs(labels, outputs[name])
        counted = np.ones(len(rows), np.bool_) if table.weights is None else table.weights[rows] > 0
        rows, values, target = rows[counted], outputs[name][counted], table.target[rows[counted]]
        try:
            batch = Batch.from_columns(
                self.model.contract, {name: column[rows] for name, column in self.features.columns.items()}
            )
            champion = self.model.predict(batch)[name]
        except Exception as error:  # a model raises any exception for rows that it does not expect
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"The champion {self.reference} fails on the test rows ({type(error).__name__}: {reason}): "
                "name another one in champion.reference."
            ) from None

        # Texts of one length would cut longer ones, and equal others.
        dtype = np.float64 if config.task == "regression" else object

        def compared(selected: NDArray[np.bool_]) -> PairedResult:
            true, new, old = (array[selected].astype(dtype) for array in (target, values, champion))
            compare = compare_labels if config.task == "classification" else compare_values
            own_units, own_weights = (
                None if array is None else array[selected] for array in (units, weights)
            )
            return compare(true, new, old, units=own_units, weights=own_weights, seed=config.seed)

        weights = table.weights_of(rows)
        units = None if table.groups is None else table.groups[rows]
        groups = None if self.groups is None else self.groups[rows]
        return Comparison(
            self.reference,
            self.same_split,
            compared(np.ones(len(rows), np.bool_)),
            {} if groups is None else {str(group): compared(groups == group) for group in np.unique(groups)},
        )

    def _require_same_outputs(self, labels: tuple[int | str, ...], values: Array) -> None:
        own = self.model.contract.labels
        if labels and not set(own) & set(labels):
            raise FieldError(
                ("champion", "reference"),
                f"the classes of {self.reference} are {', '.join(map(str, own))}, and those of the data "
                f"{', '.join(map(str, labels))}: name a model of the same target",
            )
        if values.ndim == 2 or self.model.contract.outputs[0].width is not None:
            raise FieldError(("champion",), "allowed for one value per row only: remove it")


def read_champion(config: TrainingConfig, source: Source) -> Champion | None:
    """Pull and open the champion, and read the rows as it takes them.

    Args:
        config: The configuration, with a champion.
        source: The data.

    Returns:
        The champion; None if the store has no channel of the model yet, so that the first one has none to
        beat.

    Raises:
        FieldError: If the channel does not exist although others do, the data lacks a column of the champion,
            or its task is another.
        BundleError: If the bundle differs from its digest or cannot be opened here.
        NotFoundError: If the store does not contain the bundle.
        StoreError: If the store is unreachable or fails.
    """
    options = config.champion
    assert options is not None
    reference = find_predecessor(options.reference, config.name, ("champion", "reference"))
    if reference is None:
        return None
    with TemporaryDirectory() as folder:
        bundle = Store(reference.store).pull(reference, Path(folder) / "bundle")
        model = BundledModel.open(bundle)
    manifest, own = bundle.manifest, config.manifest_parameters()
    if manifest.task != config.task:
        raise FieldError(
            ("champion", "reference"),
            f"{reference} is a {manifest.task}, and the task is {config.task}: name a model of the same task",
        )
    groups = None if options.group is None else _read_groups(options.group, source)
    return Champion(
        reference,
        model,
        _read_features(config, source, model.contract, reference),
        groups,
        same_split=(manifest.data.sha256, manifest.seed, manifest.parameters.get("split"))
        == (source.sha256, config.seed, own["split"]),
    )


def require_better(name: str, options: ChampionOptions, comparison: Comparison) -> None:
    """Raise an error unless the challenger may replace the champion.

    Args:
        name: The model's name.
        options: The configuration's section ``champion``.
        comparison: The comparison of both models.

    Raises:
        GateNotPassedError: If it may not. The message has the figures of the paired test.
    """
    if failures := comparison.failures(options):
        needed = (
            "to be significantly better" if options.require == "better" else "not to be significantly worse"
        )
        raise GateNotPassedError(
            f"The model '{name}' does not replace the champion {comparison.reference}, so there is no bundle "
            f"and the channel stays: {'; '.join(failures)}; expected {needed} at the 5 % level, and worse "
            "for no group."
        )


def _read_groups(column: str, source: Source) -> Array:
    source.require_column(column, ("champion", "group"))
    groups = read_groups(source, column)
    if (count := len(np.unique(groups))) > MAX_GROUPS:
        raise FieldError(
            ("champion", "group"),
            f"{source.name}: the column '{column}' has {count} groups, expected at most {MAX_GROUPS}",
        )
    return groups


def _read_features(
    config: TrainingConfig, source: Source, contract: Contract, reference: Reference
) -> FeatureTable:
    """Read the champion's features in the types of its contract."""
    features = Features(
        keep=list(contract.feature_names),
        overrides={feature.name: _options(feature) for feature in contract.features},
    )
    try:
        return build_table(source, config.model_copy(update={"features": features})).features
    except ConfigurationError as error:
        problem = error.problem if isinstance(error, FieldError) else str(error)
        raise FieldError(
            ("champion", "reference"), f"the data does not fit {reference}: {problem.rstrip('.')}"
        ) from None


def _options(feature: Feature) -> FeatureOptions:
    """Return a feature's options without its categories, because the champion decides about unknown ones."""
    if feature.format is not None:
        return FeatureOptions(datatype="date" if feature.format == "date" else "datetime")
    is_text = feature.datatype is Datatype.BYTES
    return FeatureOptions(datatype=_DATATYPE_NAMES[feature.datatype], free_text=is_text)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Drift of new data from the training rows of the bundle in a channel, feature by feature.

Bins and index are those of the server's drift monitor. A report has the index of a feature of any
sensitivity, and no value, bin or category.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tidegate.baseline import Bins, Counts, load_baseline, population_stability_index
from tidegate.bundle import Bundle
from tidegate.contract import Feature
from tidegate.errors import DataError, FieldError
from tidegate.reference import Reference
from tidegate.store import Store
from tidegate_training.data.expectations import Violation
from tidegate_training.data.source import Source
from tidegate_training.data.table import read_feature
from tidegate_training.expectation_options import Drift
from tidegate_training.predecessor import find_predecessor

CHANCE_LEVEL = 0.999
"""The fraction of pairs of samples of one population whose index stays within the limit."""

_LOCATION = ("expectations", "drift")


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """The drift of a feature.

    Attributes:
        index: The population stability index; None if the data does not have the feature's type.
        limit: The largest index that is expected: that of the configuration, or the one that chance explains
            if it is larger.
    """

    index: float | None
    limit: float


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The drift of all features.

    Attributes:
        reference: The bundle.
        features: By feature that the data has, its drift.
        missing: The bundle's features that the data does not have.
    """

    reference: Reference
    features: Mapping[str, FeatureDrift]
    missing: tuple[str, ...]

    @property
    def violations(self) -> list[Violation]:
        """The features that have drifted too far."""
        return [
            Violation(
                name,
                f"expected values of its type in {self.reference}"
                if drift.index is None
                else f"expected a drift (PSI) of at most {drift.limit:.3g} from {self.reference}, received "
                f"{drift.index:.3g}",
            )
            for name, drift in self.features.items()
            if drift.index is None or drift.index > drift.limit
        ]

    @property
    def sentences(self) -> list[str]:
        """The result in words, for data without a violation."""
        largest = max(self.features, key=lambda name: self.features[name].index or 0.0, default=None)
        sentences = []
        if largest is not None:
            drift = self.features[largest]
            sentences.append(
                f"The largest drift from {self.reference} is {drift.index or 0.0:.3g}, of '{largest}' (limit "
                f"{drift.limit:.3g})."
            )
        if self.missing:
            sentences.append(
                f"The data has no column {', '.join(map(repr, self.missing))} of {self.reference}, so that "
                "drift is unknown."
            )
        return sentences

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document."""
        return asdict(self) | {"reference": str(self.reference)}


def read_drift(options: Drift, name: str, source: Source) -> DriftReport | None:
    """Pull the bundle of a channel, and measure the drift of new data from its training rows.

    Args:
        options: The configuration's section ``expectations.drift``.
        name: The name of the new model.
        source: The new data.

    Returns:
        The report; None if the store has no channel of the model yet.

    Raises:
        FieldError: If the channel does not exist although others do, or a limit names no feature of both.
        BundleError: If the bundle differs from its digest, or its baseline is damaged.
        NotFoundError: If the store does not contain the bundle.
        StoreError: If the store is unreachable or fails.
    """
    reference = find_predecessor(options.reference, name, (*_LOCATION, "reference"))
    if reference is None:
        return None
    with TemporaryDirectory() as folder:
        bundle = Store(reference.store).pull(reference, Path(folder) / "bundle")
        return measure_drift(options, reference, bundle, source)


def measure_drift(options: Drift, reference: Reference, bundle: Bundle, source: Source) -> DriftReport:
    """Measure the drift of new data from a bundle's training rows.

    Args:
        options: The limits.
        reference: The bundle's reference, for messages.
        bundle: The bundle.
        source: The new data.

    Raises:
        FieldError: If a limit names no feature of both.
        BundleError: If the bundle's baseline is damaged.
    """
    known, present = bundle.contract.features, set(source.names)
    shared = [feature for feature in known if feature.name in present]
    names = [feature.name for feature in shared]
    for name in options.columns:
        if name not in names:
            raise FieldError(
                (*_LOCATION, "columns", name),
                f"'{name}' is not a feature of {reference} and a column of {source.name}, expected one of "
                f"{', '.join(names)}",
            )
    bins = load_baseline(bundle).features
    return DriftReport(
        reference,
        {
            feature.name: _measure_feature(
                source, feature, bins[feature.name], options.columns.get(feature.name, options.max_psi)
            )
            for feature in shared
        },
        tuple(feature.name for feature in known if feature.name not in present),
    )


def _measure_feature(source: Source, feature: Feature, bins: Bins, limit: float) -> FeatureDrift:
    try:
        values = read_feature(source, feature)
    except DataError:  # its message has a value, which may be restricted
        return FeatureDrift(None, limit)
    counts = bins.count(values)
    return FeatureDrift(
        population_stability_index(bins.expected, counts), max(limit, index_by_chance(bins.expected, counts))
    )


def index_by_chance(expected: Counts, observed: Counts) -> float:
    """Return the index that samples of one population exceed once in a thousand times.

    The index of two such samples is about ``(1/n + 1/m)`` times a chi-squared value of ``bins - 1`` degrees
    of freedom. From Yurdakul and Naranjo, "Statistical properties of the population stability index" (2020).

    >>> import numpy as np
    >>> round(index_by_chance(np.array([50, 50]), np.array([40, 60])), 3)
    0.217

    Args:
        expected: Counts ``[bins]``; at least one is not 0.
        observed: Counts ``[bins]``; at least one is not 0.
    """
    from scipy.stats import chi2

    bins = int(((expected + observed) > 0).sum())
    scale = 1 / int(expected.sum()) + 1 / int(observed.sum())
    return float(chi2.ppf(CHANCE_LEVEL, bins - 1) * scale) if bins > 1 else 0.0

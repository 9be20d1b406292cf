# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Baseline: the distributions of features and predictions in training, and the distance from them.

A bundle's ``baseline.json`` has one histogram per feature and one of the predictions. This module reads them
into bins, counts values in the same bins, and compares two counts by the population stability index. It
stores no value and has no threshold: alerts and the expectations of training decide which index is too large.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidegate.bundle import BASELINE, Bundle
from tidegate.contract import Contract, Datatype, Feature
from tidegate.errors import BundleError
from tidegate.text_values import weekdays

Array = NDArray[Any]
Counts = NDArray[np.int64]

MIN_PROPORTION = 1e-4
"""The proportion of an empty bin, because the index needs the logarithm of a proportion."""

MAX_CATEGORIES = 20
"""Categories with a bin of their own. The index of an unchanged feature grows with the number of bins."""

OTHER = "other"
"""The name of the bin for rarer and unknown categories."""


def population_stability_index(expected: Counts, observed: Counts) -> float:
    """Return the distance between two distributions over the same bins; 0 if they are equal, never below 0.

    The index is the sum over the bins of ``(o - e) * ln(o / e)``, with the proportions ``e`` and ``o``, each
    at least ``MIN_PROPORTION``. It is Jeffreys' symmetric form of the Kullback-Leibler divergence (1951).
    Credit scoring reads an index below 0.1 as no change and above 0.25 as a change to act on (Siddiqi, Credit
    Risk Scorecards, 2006).

    For n and m rows of one population the expected index is about ``(bins - 1) * (1/n + 1/m)`` (Yurdakul and
    Naranjo, Statistical properties of the population stability index, 2020), so few rows show an index
    without any drift.

    Args:
        expected: Counts ``[bins]``; at least one is not 0.
        observed: Counts ``[bins]``; at least one is not 0.
    """
    e = np.maximum(expected / expected.sum(), MIN_PROPORTION)
    o = np.maximum(observed / observed.sum(), MIN_PROPORTION)
    return float(((o - e) * np.log(o / e)).sum())


@dataclass(frozen=True, slots=True)
class NumericBins:
    """Bins of numbers: one per edge, up to and including it, one above all edges, one of missing values."""

    edges: Array
    expected: Counts
    """Counts ``[bins]`` in training."""

    def count(self, values: Array) -> Counts:
        """Count the values ``[rows]`` by bin, as ``[bins]``."""
        counts = np.bincount(np.searchsorted(self.edges, values, side="left"), minlength=len(self.edges) + 2)
        # searchsorted places NaN above the last edge; NaN belongs to the missing values.
        missing = np.count_nonzero(values != values)
        counts[-2] -= missing
        counts[-1] += missing
        return counts


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """Bins of categories: one per frequent category, one of all others, and one of missing values."""

    names: tuple[str, ...]
    """The names of all bins except the last."""
    index: Mapping[str, int]
    """The bin of each frequent category, and of the empty string, which is a missing value."""
    expected: Counts
    """Counts ``[bins]`` in training."""

    def count(self, values: Array) -> Counts:
        """Count the values ``[rows]`` by bin, as ``[bins]``."""
        counts = np.zeros(len(self.expected), np.int64)
        other = len(self.names) - 1
        # numpy.unique would copy text to fixed-width elements, each as long as the longest value.
        for value, count in Counter(map(str, values.tolist())).items():
            counts[self.index.get(value, other)] += count
        return counts


@dataclass(frozen=True, slots=True)
class TextBins:
    """Bins of free texts by their length in characters; an empty text is a missing value."""

    lengths: NumericBins

    @property
    def expected(self) -> Counts:
        """Counts ``[bins]`` in training."""
        return self.lengths.expected

    def count(self, values: Array) -> Counts:
        """Count the values ``[rows]`` by bin, as ``[bins]``."""
        lengths = np.fromiter(map(len, values), np.float64, len(values))
        return self.lengths.count(np.where(lengths == 0, np.nan, lengths))


@dataclass(frozen=True, slots=True)
class WeekdayBins:
    """Bins of dates and times by weekday: a date itself moves on, so that it always differs from training."""

    days: CategoryBins

    @property
    def expected(self) -> Counts:
        """Counts ``[bins]`` in training."""
        return self.days.expected

    def count(self, values: Array) -> Counts:
        """Count the values ``[rows]`` by bin, as ``[bins]``."""
        return self.days.count(weekdays(values))


PredictionBins = NumericBins | CategoryBins
Bins = PredictionBins | TextBins | WeekdayBins
"""The bins of a feature or of the prediction. The last bin is for missing values."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The bins of all features by name, and those of the prediction; of several targets, of the first."""

    features: Mapping[str, Bins]
    prediction: PredictionBins


def load_baseline(bundle: Bundle) -> Baseline:
    """Return the bins of a bundle's ``baseline.json``.

    Raises:
        BundleError: If the file is altered, or does not describe the bundle's contract.
    """
    contract = bundle.contract
    try:
        document = _BaselineDocument.model_validate_json(bundle.read(BASELINE))
        features: dict[str, Bins] = {
            feature.name: _feature_bins(document.features[feature.name], feature)
            for feature in contract.features
        }
        prediction = _prediction_bins(contract, document.predictions[contract.prediction.name])
        return Baseline(features, prediction)
    except ValidationError as error:
        problem = error.errors()[0]
        reason = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    except KeyError as error:
        reason = f"{error} is missing"
    except ValueError as error:
        reason = str(error)
    raise BundleError(
        f"{bundle.path / BASELINE} does not describe the contract of this bundle: {reason}. "
        "Train the model again."
    )


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


_Count = Annotated[int, Field(ge=0)]


class _NumericHistogram(_Part):
    edges: Annotated[list[float], Field(min_length=1)]
    counts: list[_Count]
    missing: _Count = 0


class _CategoryHistogram(_Part):
    categories: dict[str, _Count]
    missing: _Count = 0


_Histogram = _NumericHistogram | _CategoryHistogram


class _BaselineDocument(_Part):
    features: dict[str, _Histogram]
    predictions: dict[str, _Histogram | list[_Histogram]]


def _feature_bins(histogram: _Histogram, feature: Feature) -> Bins:
    if feature.is_free_text:
        return TextBins(_numeric_bins(histogram, Datatype.FP64))
    if feature.categories is None and feature.format is None and feature.datatype is not Datatype.BOOL:
        return _numeric_bins(histogram, feature.datatype)
    if isinstance(histogram, _NumericHistogram):
        raise ValueError(f"expected categories for '{feature.name}', received edges")
    bins = _category_bins(histogram.categories, histogram.missing)
    return bins if feature.format is None else WeekdayBins(bins)


def _numeric_bins(histogram: _Histogram, datatype: Datatype) -> NumericBins:
    if isinstance(histogram, _CategoryHistogram):
        raise ValueError(f"expected edges for {datatype}, received categories")
    # In the data type of the values, because the decimal of an FP32 value may differ from it in 64 bits.
    edges = np.array(histogram.edges, datatype.dtype)
    if len(histogram.counts) != len(edges) + 1:
        raise ValueError(
            f"expected {len(edges) + 1} counts, one more than edges, received {len(histogram.counts)}"
        )
    if (edges[1:] <= edges[:-1]).any():
        raise ValueError(f"expected ascending edges, received {histogram.edges}")
    return NumericBins(edges, _non_empty([*histogram.counts, histogram.missing]))


def _prediction_bins(contract: Contract, histogram: _Histogram | list[_Histogram]) -> PredictionBins:
    """Return the bins of the prediction; of several targets, those of the first."""
    expected = contract.prediction.width or 1
    histograms = histogram if isinstance(histogram, list) else [histogram]
    if len(histograms) != expected:
        raise ValueError(f"expected {expected} histograms of the prediction, received {len(histograms)}")
    histogram = histograms[0]
    if contract.task == "regression":
        return _numeric_bins(histogram, contract.prediction.datatype)
    if isinstance(histogram, _NumericHistogram):
        raise ValueError("expected labels, received edges")
    # A label that the model predicted for no held-out row has a bin too.
    return _category_bins(
        {str(label): 0 for label in contract.labels} | histogram.categories, histogram.missing
    )


def _category_bins(counts: Mapping[str, int], missing: int) -> CategoryBins:
    # By count, and in the document's order where counts are equal.
    frequent = sorted(counts, key=lambda name: -counts[name])[:MAX_CATEGORIES]
    names = [name for name in counts if name in frequent]
    other = sum(counts.values()) - sum(counts[name] for name in names)
    index = {"": len(names) + 1} | {name: position for position, name in enumerate(names)}
    expected = _non_empty([*(counts[name] for name in names), other, missing])
    return CategoryBins((*names, OTHER), index, expected)


def _non_empty(counts: Sequence[int]) -> Counts:
    if not any(counts):
        raise ValueError("expected a histogram of at least one row, received only counts of 0")
    return np.array(counts, np.int64)

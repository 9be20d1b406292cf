# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Drift: how far the values that a model meets have moved from those that it was trained on.

Counts in the bins of the bundle's ``baseline.json``, and from two such counts one number. It keeps no value,
and it judges nothing: which number is too large, the alerts say.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tidegate.bundle import BASELINE, Bundle
from tidegate.contract import Contract, Datatype
from tidegate.errors import BundleError

Array = NDArray[Any]
Counts = NDArray[np.int64]

SMALLEST_SHARE = 1e-4
"""What an empty bin counts as: the index has a logarithm of a share, and none of nothing."""

KEPT_CATEGORIES = 20
"""Rarer ones share a bin with the unknown ones: the index of an unmoved feature grows with its bins."""

OTHER = "other"


def population_stability_index(expected: Counts, observed: Counts) -> float:
    """How far two distributions over the same bins are apart; 0 if they are equal, and never less.

    The sum over the bins of ``(o - e) * ln(o / e)``, with the shares e and o, each at least
    ``SMALLEST_SHARE``. It is Jeffreys' symmetric form of the Kullback-Leibler divergence (1951). Credit
    scoring reads below 0.1 as no change, above 0.25 as one to act on (Siddiqi, Credit Risk Scorecards, 2006).
    Of n and m rows of one unmoved population it is about ``(bins - 1) * (1/n + 1/m)`` all the same (Yurdakul
    and Naranjo, Statistical properties of the population stability index, 2020), so n must not be small.

    Args:
        expected: Counts by bin, shape ``[bins]``; at least one is not 0.
        observed: Counts by bin, of the same shape; at least one is not 0.
    """
    e = np.maximum(expected / expected.sum(), SMALLEST_SHARE)
    o = np.maximum(observed / observed.sum(), SMALLEST_SHARE)
    return float(((o - e) * np.log(o / e)).sum())


@dataclass(frozen=True, slots=True)
class NumberBins:
    """Up to the first edge, between two edges with the upper one, above the last edge, missing."""

    edges: Array
    expected: Counts
    """How many values each bin had in training."""

    def count(self, values: Array) -> Counts:
        """How many of the values, shape ``[rows]``, are in each bin."""
        found = np.bincount(np.searchsorted(self.edges, values, side="left"), minlength=len(self.edges) + 2)
        # NaN is sorted behind everything, so it was counted above the last edge.
        missing = np.count_nonzero(values != values)
        found[-2] -= missing
        found[-1] += missing
        return found


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """A bin a frequent category, one for all others, one for missing values."""

    names: tuple[str, ...]
    """What each bin but the last is called."""
    index: Mapping[str, int]
    expected: Counts
    """How many values each bin had in training."""

    def count(self, values: Array) -> Counts:
        """How many of the values, shape ``[rows]``, are in each bin."""
        found = np.zeros(len(self.expected), np.int64)
        other = len(self.names) - 1
        # Not numpy.unique on text: an array of fixed width would give each value the room of the longest.
        for value, number in Counter(map(str, values.tolist())).items():
            found[self.index.get(value, other)] += number
        return found


Bins = NumberBins | CategoryBins
"""How the values of a feature, or of the prediction, are sorted; the last bin is for missing ones."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The bins of all features by name, and those of the prediction."""

    features: Mapping[str, Bins]
    prediction: Bins


def references(bundle: Bundle) -> Baseline:
    """What the baseline of a bundle says.

    Raises:
        BundleError: The file is altered, or is no baseline of the bundle's contract.
    """
    contract = bundle.contract
    try:
        document = _Baseline.model_validate_json(bundle.read(BASELINE))
        features: dict[str, Bins] = {
            feature.name: _bins(document.features[feature.name], feature.datatype)
            for feature in contract.features
        }
        return Baseline(features, _prediction(contract, document.predictions[contract.prediction.name]))
    except ValidationError as error:
        problem = error.errors()[0]
        reason = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    except KeyError as error:
        reason = f"it has no {error}"
    except ValueError as error:
        reason = str(error)
    raise BundleError(f"{bundle.path / BASELINE} is no baseline of this contract: {reason}; train again.")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


_Count = Annotated[int, Field(ge=0)]


class _Histogram(_Part):
    edges: Annotated[list[float], Field(min_length=1)]
    counts: list[_Count]
    missing: _Count = 0


class _Categories(_Part):
    categories: dict[str, _Count]
    missing: _Count = 0


class _Baseline(_Part):
    features: dict[str, _Histogram | _Categories]
    predictions: dict[str, _Histogram | _Categories | list[_Histogram]]


def _bins(part: _Histogram | _Categories, datatype: Datatype) -> Bins:
    if datatype in (Datatype.BYTES, Datatype.BOOL):
        if isinstance(part, _Histogram):
            raise ValueError(f"it has edges where a {datatype} has categories")
        return _category_bins(part.categories, part.missing)
    if isinstance(part, _Categories):
        raise ValueError(f"it has categories where a {datatype} has edges")
    # In the type of the values: a decimal that stands for a FP32 is not always equal to it in 64 bits.
    edges = np.array(part.edges, datatype.dtype)
    if len(part.counts) != len(edges) + 1 or (edges[1:] <= edges[:-1]).any():
        raise ValueError("its edges do not rise, or there is not one count more than edges")
    return NumberBins(edges, _counted([*part.counts, part.missing]))


def _prediction(contract: Contract, part: _Histogram | _Categories | list[_Histogram]) -> Bins:
    if isinstance(part, list):
        raise ValueError("it has several histograms of the prediction")
    if not contract.labels:
        return _bins(part, contract.prediction.datatype)
    if isinstance(part, _Histogram):
        raise ValueError("it has edges where a classifier has labels")
    # A label that the model gave to no held-out row is one all the same.
    return _category_bins({str(label): 0 for label in contract.labels} | part.categories, part.missing)


def _category_bins(counts: Mapping[str, int], missing: int) -> CategoryBins:
    # By number, and in the order of the document where the numbers are equal.
    frequent = sorted(counts, key=lambda name: -counts[name])[:KEPT_CATEGORIES]
    kept = [name for name in counts if name in frequent]
    others = sum(counts.values()) - sum(counts[name] for name in kept)
    index = {"": len(kept) + 1} | {name: position for position, name in enumerate(kept)}
    expected = _counted([*(counts[name] for name in kept), others, missing])
    return CategoryBins((*kept, OTHER), index, expected)


def _counted(counts: Sequence[int]) -> Counts:
    if not any(counts):
        raise ValueError("a histogram of it counts nothing")
    return np.array(counts, np.int64)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Probe rows: rows of a contract on which compiled models are known to differ from scikit-learn.

The server accepts each of these rows. Data rarely has them: limits, numbers far outside of the training
range, integers without a 32-bit float, missing values, unknown categories, texts beyond ASCII, ties and
zeros. :mod:`tidegate_training.bundling.thresholds` adds rows that only the model's trees show.
"""

import unicodedata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Batch, to_column
from tidegate.contract import Contract, Datatype, Feature, Scalar

Array = NDArray[Any]

FAR_FACTORS = (10.0, 1e3, 1e6)
"""Distances of numbers from the training range, in widths of the range."""

INEXACT_INTEGERS = (2**24 + 1, -(2**24) - 1, 2**53 + 1)
"""Integers that a 32-bit float, or a 64-bit float, cannot represent."""

LONG_TEXT_BYTES = 10_000
"""Length of the longest text."""

MAX_SINGLE_ROWS = 2_000
"""Number of rows with one special value each; with more special values, several features share a row."""

_RANDOM_ROWS = 256
"""Number of random rows within the training range, and number of those with some numbers far outside."""

_MISSING_RATIO = 0.1
"""Fraction of missing values in random rows, of a feature that may be missing."""

_FAR_RATIO = 0.3
"""Fraction of the numbers that are far in a random row."""

_FOREIGN = ("é", "e\u0301", "漢字", "שלום", "İ", "ß", "🙂", "\0")
"""Accents precomposed and combined, CJK, right-to-left, letters that change length by case, emoji, NUL."""


def probe_rows(contract: Contract, seed: int) -> Batch:
    """Build the probe rows of a contract.

    1. One feature at a time has each of its special values; the others have the first golden row's.
    2. All features have their first special value, their second, or their last (the limits of a number, and
       a missing value), or zero, or are far outside of the range.
    3. The numbers are halfway between those of two golden rows, so that neighbors and votes can tie.
    4. Random values within the range; and random values of which some are far outside.

    The number of rows hardly grows with the features, and each column is built at once.

    Args:
        contract: The contract.
        seed: The seed of the random values.
    """
    special = {feature.name: special_values(feature) for feature in contract.features}
    sizes = [len(values) for values in special.values()]
    n_single = max(min(sum(sizes), MAX_SINGLE_ROWS), *sizes)
    generator = np.random.default_rng(seed)
    far = np.array([sign * factor for factor in FAR_FACTORS for sign in (-1, 1)])
    columns, start = {}, 0
    for index, feature in enumerate(contract.features):
        golden = to_column([row[index] for row in contract.golden.rows], feature.datatype)
        values = to_column(special[feature.name], feature.datatype)
        single = np.repeat(golden[:1], n_single)
        single[(start + np.arange(len(values))) % n_single] = values
        start += len(values)
        random = _random_values(feature, 2 * _RANDOM_ROWS, generator)
        some = np.where(generator.random(_RANDOM_ROWS) < _FAR_RATIO, generator.choice(far, _RANDOM_ROWS), 0.0)
        columns[feature.name] = np.concatenate(
            [
                single,
                (values if len(values) else golden)[[0, min(1, len(values) - 1), -1]],
                _zero(feature, golden[:1]),
                _far_values(feature, np.repeat(golden[:1], len(far)), far),
                _halfway_values(feature, golden),
                random[:_RANDOM_ROWS],
                _far_values(feature, random[_RANDOM_ROWS:], some),
            ]
        )
    return Batch.from_columns(contract, columns)


def special_values(feature: Feature) -> list[Scalar]:
    """Return the values of a feature that the server accepts and that compiled models can treat differently.

    They are the limits of the range, zero, integers that a float cannot represent, all categories, unknown
    ones and texts beyond ASCII if they are accepted, and a missing value if it may be missing.
    """
    values: list[Scalar] = []
    if feature.format is not None:
        values += [limit for limit in (feature.minimum, feature.maximum) if limit is not None]
    elif feature.categories is not None or feature.datatype is Datatype.BYTES:
        values += feature.categories or ()
        if feature.handle_unknown == "accept" or feature.categories is None:
            values += _unknown_values(feature)
    elif feature.datatype is Datatype.BOOL:
        values += [False, True]
    else:
        values += [limit for limit in (feature.minimum, feature.maximum) if limit is not None]
        values.append(0 if feature.datatype.is_integer else 0.0)
        if feature.datatype is not Datatype.FP32:
            values += _inexact_integers(feature)
    if feature.missing:
        values.append(None)
    return values


def _unknown_values(feature: Feature) -> list[Scalar]:
    """Return unknown categories, or texts: forms that a converter can take for a known text."""
    if feature.datatype is not Datatype.BYTES:
        known: set[Any] = set(feature.categories or ())
        unknown = next(value for value in range(len(known) + 1) if value not in known)
        return [unknown, *(value for value in _inexact_integers(feature) if value not in known)]
    longest = max(map(str, feature.categories or ("text",)), key=len)
    texts = ["?" + longest, longest.swapcase(), f" {longest} ", unicodedata.normalize("NFD", longest)]
    for foreign in _FOREIGN:
        # Alone, attached to a known text, and between two, where a tokenizer may or may not split.
        texts += [foreign, longest + foreign, f"{longest}{foreign}{longest}"]
    texts.append((longest + " ") * (LONG_TEXT_BYTES // len((longest + " ").encode()) + 1))
    return [*texts]


def _inexact_integers(feature: Feature) -> list[Scalar]:
    if not feature.datatype.is_integer:
        return [float(value) for value in INEXACT_INTEGERS[:2]]
    limits = np.iinfo(feature.datatype.dtype)
    return [value for value in INEXACT_INTEGERS if limits.min <= value <= limits.max]


def _zero(feature: Feature, typical: Array) -> Array:
    """Return zero, ``[1]``; of a text, the empty one if it may be missing; otherwise the typical value."""
    if feature.categories is None and feature.datatype is not Datatype.BYTES:
        return np.zeros_like(typical)
    return np.array([""], object) if feature.missing else typical


def _range(feature: Feature) -> tuple[float, float]:
    low, high = feature.minimum, feature.maximum
    return (0.0 if low is None else float(low)), (1.0 if high is None else float(high))


def _far_values(feature: Feature, values: Array, factors: Array) -> Array:
    """Return numbers outside of the feature's range by ``factors`` widths of it; where that is 0, ``values``.

    Args:
        feature: The feature. Only numbers have values far outside.
        values: ``[rows]``, the feature's values.
        factors: ``[rows]``, the distances: negative below the range, positive above.
    """
    datatype = feature.datatype
    if feature.categories is not None or not (datatype.is_float or datatype.is_integer):
        return values
    low, high = _range(feature)
    width = high - low or max(abs(high), 1.0)
    far = np.where(factors > 0, high, low) + factors * width
    if datatype.is_integer:
        limits = np.iinfo(datatype.dtype)
        # The largest float that the type holds: 2**63 itself is beyond it.
        far = np.clip(far.round(), float(limits.min), np.nextafter(float(limits.max), 0))
    else:
        # Far less than the largest float, so that sums of squares stay finite.
        largest = float(np.sqrt(np.finfo(datatype.dtype).max)) / FAR_FACTORS[-1]
        far = np.clip(far, -max(largest, abs(low)), max(largest, abs(high)))
    return np.where(factors != 0, far.astype(datatype.dtype), values)


def _halfway_values(feature: Feature, golden: Array) -> Array:
    """Return the values halfway between each golden row and the next one; those of other types stay."""
    if feature.categories is not None or not (feature.datatype.is_float or feature.datatype.is_integer):
        return golden
    following = np.roll(golden, -1)
    if feature.datatype.is_integer:
        return np.asarray((golden >> 1) + (following >> 1))
    return golden / 2 + following / 2


def _random_values(feature: Feature, count: int, generator: np.random.Generator) -> Array:
    """Draw known categories, or values within the range; about one in ten is missing where one may be."""
    dtype = feature.datatype.dtype
    if feature.categories is not None or feature.datatype is Datatype.BYTES:
        observed = [limit for limit in (feature.minimum, feature.maximum) if limit is not None]
        known = to_column(feature.categories or observed or ("",), feature.datatype)
        values = known[generator.integers(0, len(known), count)]
    elif feature.datatype is Datatype.BOOL:
        values = generator.random(count) < 0.5
    elif feature.datatype.is_integer and feature.minimum is not None and feature.maximum is not None:
        limits = int(feature.minimum), int(feature.maximum)
        values = generator.integers(*limits, count, dtype, endpoint=True)
    else:
        low, high = _range(feature)
        ratio = generator.random(count)
        values = (low * (1 - ratio) + high * ratio).astype(dtype)
    if feature.missing:
        absent = generator.random(count) < _MISSING_RATIO
        values[absent] = "" if feature.datatype is Datatype.BYTES else np.nan
    return values

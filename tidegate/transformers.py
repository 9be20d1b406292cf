# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Transformers of dates and times, which pipelines have in addition to scikit-learn's own.

They are in the core because servers build them too, under the default policy. They need scikit-learn, which
the extras ``training`` and ``serving`` install; no other module of the core imports this one.

>>> DatetimeEncoder(("year", "weekday", "hour")).transform([["2024-02-29T10:30"], [""]]).tolist()
[[2024.0, 3.0, 10.0], [nan, nan, nan]]
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from tidegate.text_values import parse_present_times

Array = NDArray[Any]

_HOURS_PER_DAY = 24


class DatetimeEncoder(TransformerMixin, BaseEstimator):
    """An encoder of dates and times as their parts.

    Args:
        parts: The parts of each column, in this order: ``year``, ``month`` (from 1), ``day`` (from 1),
            ``weekday`` (Monday is 0) and ``hour``, in UTC where the text has an offset.
        dtype: The type of the parts.
    """

    def __init__(
        self, parts: Sequence[str] = ("year", "month", "day", "weekday"), dtype: type = np.float64
    ) -> None:
        self.parts = parts
        self.dtype = dtype

    def fit(self, X: Any, y: Any = None) -> Self:
        """Do nothing: the parts depend on no other row."""
        return self

    def transform(self, X: Any) -> Array:
        """Compute the parts, ``[rows, columns * parts]``; those of a missing value are NaN.

        Args:
            X: Texts in ISO 8601, ``[rows, columns]``; a missing one is empty.
        """
        parts = [_parts_of(parse_present_times(texts)) for texts in np.asarray(X, dtype=object).T]
        return np.stack([column[name] for column in parts for name in self.parts], axis=1).astype(self.dtype)

    def __sklearn_is_fitted__(self) -> bool:
        return True


class DatetimeDifference(TransformerMixin, BaseEstimator):
    """The difference of two columns of dates and times, in days.

    Args:
        dtype: The type of the difference.
    """

    def __init__(self, dtype: type = np.float64) -> None:
        self.dtype = dtype

    def fit(self, X: Any, y: Any = None) -> Self:
        """Do nothing: a difference depends on no other row."""
        return self

    def transform(self, X: Any) -> Array:
        """Compute the first column minus the second, ``[rows, 1]``; NaN if one of them is missing.

        Args:
            X: Texts in ISO 8601, ``[rows, 2]``; a missing one is empty.
        """
        minuend, subtrahend = map(parse_present_times, np.asarray(X, dtype=object).T)
        return ((minuend - subtrahend) / np.timedelta64(1, "D")).reshape(-1, 1).astype(self.dtype)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _parts_of(times: Array) -> dict[str, Array]:
    """Return the parts of times, ``[rows]`` of float64 each, by name."""
    missing = np.isnat(times)
    days, months = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    day_number, month_number = days.astype(np.int64), months.astype(np.int64)
    parts = {
        "year": month_number // 12 + 1970,
        "month": month_number % 12 + 1,
        "day": (days - months.astype("datetime64[D]")).astype(np.int64) + 1,
        "weekday": (day_number + 3) % 7,  # the first of January 1970 was a Thursday
        "hour": times.astype("datetime64[h]").astype(np.int64) % _HOURS_PER_DAY,
    }
    return {name: np.where(missing, np.nan, values) for name, values in parts.items()}

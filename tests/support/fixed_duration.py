# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A model whose calls have a known duration on every machine, so that the replica's capacity is known too."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

SECONDS_PER_CALL = 0.002
SECONDS_PER_ROW = 0.0001
MAX_ROW_RATE = 1 / SECONDS_PER_ROW
"""Rows per second that no batch size can exceed."""
FEATURES = 4


class FixedDurationRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predict the sum of a row's features, in a call that sleeps for a time by its number of rows."""

    def fit(self, X: Any, y: Any) -> "FixedDurationRegressor":
        """Take the number of features."""
        self.n_features_in_ = np.shape(X)[1]
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the sums, ``[rows]``."""
        time.sleep(SECONDS_PER_CALL + SECONDS_PER_ROW * len(X))
        sums: NDArray[np.float64] = np.sum(X, axis=1)
        return sums


TRUSTED_TYPE = f"{FixedDurationRegressor.__module__}.{FixedDurationRegressor.__name__}"


def bundle_fixed_duration(directory: Path) -> None:
    """Write the model's bundle; a server needs ``TRUSTED_TYPE`` to load it."""
    from tidegate_training import bundle

    rows = np.random.default_rng(0).standard_normal((64, FEATURES))
    model = FixedDurationRegressor().fit(rows, rows.sum(axis=1))
    bundle(model, rows, name="fixed-duration", directory=directory, trusted_types=[TRUSTED_TYPE])

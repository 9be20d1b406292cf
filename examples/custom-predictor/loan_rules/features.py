# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A transformer for pipelines: ``tidegate serve … --trusted-type loan_rules.features.IncomeCap``."""

from typing import Any, Self

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin


class IncomeCap(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Caps the monthly income, as a step of the pipeline: the model is then fitted on capped incomes, too.

    Args:
        maximum: The largest income that the next step receives.
    """

    def __init__(self, maximum: float = 10_000.0) -> None:
        self.maximum = maximum

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn nothing."""
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with capped incomes."""
        return X.assign(monthly_income=X["monthly_income"].clip(upper=self.maximum))

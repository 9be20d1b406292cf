# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The predictor: ``tidegate serve … --predictor loan_rules.predictor:LoanPredictor``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate_serving import Predictor, RequestError

Arrays = Mapping[str, NDArray[Any]]


class LoanPredictor(Predictor):
    """Rejects minors, caps incomes, and decides at another threshold than the bundle's."""

    minimum_age = 18
    maximum_income = np.float32(10_000)
    threshold = 0.25
    """For this lender a default costs as much as three loans that are not granted, and not five."""

    def preprocess(self, inputs: dict[str, NDArray[Any]]) -> Arrays:
        """Reject applicants under age, and cap the monthly income; each feature is an array ``[rows]``."""
        if (inputs["age"] < self.minimum_age).any():
            raise RequestError(f"age: expected {self.minimum_age} or more.")
        inputs["monthly_income"] = np.minimum(inputs["monthly_income"], self.maximum_income)
        return inputs

    def postprocess(self, outputs: dict[str, NDArray[Any]]) -> Arrays:
        """Decide by the probability of a default: ``probabilities`` ``[rows, 2]``, ``label`` ``[rows]``."""
        labels = self.contract.labels
        will_default = outputs["probabilities"][:, labels.index("yes")] >= self.threshold
        outputs["label"] = np.where(will_default, "yes", "no").astype(object)
        return outputs

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A fitted model: the pipeline, and the rows that its contract is built from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Batch
from tidegate.contract import DecisionThreshold, Layout, Output, Task
from tidegate.outputs import LABEL, PREDICTION, PROBABILITIES, SCORES, decide_labels
from tidegate_training.bundling.features import FeaturePolicy, FeatureTable, Indices
from tidegate_training.bundling.outputs import predict_outputs

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A fitted pipeline with sample rows.

    Attributes:
        name: The model's name.
        task: The task that the pipeline was fitted for.
        pipeline: Preprocessing and estimator; the last step is the estimator.
        layout: How the pipeline takes its rows.
        outputs: The outputs of the contract.
        labels: The values of the label, as in the contract.
        features: Feature columns, ``[rows]`` each.
        target: ``[rows]`` or ``[rows, targets]``, the true classes or values; None if they are unknown.
        train: The numbers of the rows that the pipeline was fitted on.
        test: The numbers of the rows that golden requests come from.
        held_out_outputs: By output, ``[held_out_rows]`` or ``[held_out_rows, width]``: the pipeline's outputs
            for rows that it was not fitted on.
        policies: By feature, its policy; the default for features without an entry.
        threshold: The decision threshold; None if the label is the pipeline's own.
        weights: ``[rows]``, how much each row counts in the metrics; by default each counts 1.
    """

    name: str
    task: Task
    pipeline: Any
    layout: Layout
    outputs: tuple[Output, ...]
    labels: tuple[int | str, ...]
    features: FeatureTable
    target: Array | None
    train: Indices
    test: Indices
    held_out_outputs: Mapping[str, Array]
    policies: Mapping[str, FeaturePolicy] = field(default_factory=dict)
    threshold: DecisionThreshold | None = None
    weights: Array | None = None

    def predict(self, batch: Batch) -> dict[str, Array]:
        """Compute the outputs of a batch as a server does, ``[rows]`` or ``[rows, width]`` by output."""
        return decide_labels(self.threshold, self.labels, self.predict_pipeline(batch))

    def predict_pipeline(self, batch: Batch) -> dict[str, Array]:
        """Compute the outputs of a batch without the decision threshold, ``[rows]`` or ``[rows, width]``."""
        rows = batch.for_sklearn(self.layout, list(self.features.datatypes))
        return predict_outputs(self.pipeline, rows, self.outputs)

    def predict_rows(self, rows: Indices) -> dict[str, Array]:
        """Compute the outputs of the sample rows with the numbers ``rows``, ``[batch_rows]``."""
        return self.predict(self.features.batch(rows))

    def clustered_points(self, rows: Indices) -> Array:
        """Return sample rows as the last step receives them, ``[batch_rows, columns]``."""
        points = self.features.sklearn_rows(rows, self.layout)
        steps = self.pipeline[:-1]
        values = steps.transform(points) if len(steps) else points
        return values if hasattr(values, "toarray") else np.asarray(values)

    def strata(self, rows: Indices) -> Array | None:
        """Return the class or label of sample rows, ``[batch_rows]``; None if the rows have none, or many.

        Of several targets it is the first. Without true classes it is the model's own label.
        """
        if self.task in ("regression", "recommendation"):
            return None
        values = self.target[rows] if self.target is not None else self.predict_rows(rows)[LABEL]
        return np.asarray(values if values.ndim == 1 else values[:, 0])

    @property
    def output_scale(self) -> float:
        """The standard deviation of the held-out outputs that have a unit, in that unit, and otherwise 1.

        Probabilities and margins have no unit. A regression's values have one: a difference of 1e-5 is
        nothing for values that span 300, and everything for values that span 1e-5. Of several targets the
        smallest deviation counts.
        """
        with_unit = [
            output.name
            for output in self.outputs
            if output.datatype.is_float and output.name not in (PROBABILITIES, SCORES)
        ]
        if not with_unit:
            return 1.0
        name = PREDICTION if PREDICTION in with_unit else with_unit[0]
        return float(self.held_out_outputs[name].astype(np.float64).std(axis=0).min())

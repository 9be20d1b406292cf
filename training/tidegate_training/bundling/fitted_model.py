# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A fitted model: the pipeline, and the rows that its contract is built from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from tidegate.contract import Output
from tidegate_training.bundling.features import FeaturePolicy, FeatureTable, Indices

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A fitted pipeline with sample rows.

    Attributes:
        name: The model's name.
        task: The task that the pipeline was fitted for.
        pipeline: Preprocessing and estimator; the last step is the estimator.
        outputs: The outputs of the contract.
        features: Feature columns, ``[rows]`` each.
        target: ``[rows]``, the true classes or values.
        train: The numbers of the rows that the pipeline was fitted on.
        test: The numbers of the rows that golden requests come from.
        held_out_outputs: By output, ``[held_out_rows]`` or ``[held_out_rows, width]``: the pipeline's outputs
            for rows that it was not fitted on.
        policies: By feature, its policy; the default for features without an entry.
    """

    name: str
    task: Literal["classification", "regression"]
    pipeline: Any
    outputs: tuple[Output, ...]
    features: FeatureTable
    target: Array
    train: Indices
    test: Indices
    held_out_outputs: Mapping[str, Array]
    policies: Mapping[str, FeaturePolicy] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[int | str, ...]:
        """A classifier's classes in the order of its scores; empty for a regression."""
        return tuple(self.pipeline.classes_.tolist()) if self.task == "classification" else ()

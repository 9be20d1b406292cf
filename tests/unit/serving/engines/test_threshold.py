# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Mapping

import numpy as np
import pytest

from tests.support.contracts import MATRIX
from tidegate.batch import Array, Batch
from tidegate.contract import DecisionThreshold
from tidegate_serving.engines.base import OutputNames
from tidegate_serving.engines.threshold import ThresholdEngine


class FakeEngine:
    """Returns the more probable class, and records the requested outputs."""

    name, platform, selects_outputs = "fake", "fake platform", True

    def __init__(self) -> None:
        self.output_names: list[OutputNames] = []
        self.prepared = 0

    def prepare_thread(self) -> None:
        self.prepared += 1

    def run(self, batch: Batch, output_names: OutputNames = None) -> Mapping[str, Array]:
        self.output_names.append(output_names)
        probabilities = np.array([[0.75, 0.25], [0.7, 0.3], [0.5, 0.5]], np.float32)
        return {"label": np.array([0, 0, 0]), "probabilities": probabilities}


@pytest.mark.parametrize(
    ("positive_label", "value", "labels"),
    [(1, 0.3, [0, 1, 1]), (1, 0.9, [0, 0, 0]), (0, 0.7, [0, 0, 1]), (0, 0.71, [0, 1, 1])],
)
def test_run_decides_labels_by_the_threshold(positive_label: int, value: float, labels: list[int]) -> None:
    threshold = DecisionThreshold(positive_label=positive_label, value=value)
    engine = FakeEngine()
    outputs = ThresholdEngine(engine, MATRIX.model_copy(update={"threshold": threshold})).run(
        Batch({}), frozenset({"label"})
    )
    assert outputs["label"].tolist() == labels
    assert outputs["label"].dtype == np.int64
    assert engine.output_names == [None], "the label needs the probabilities"


def test_engine_has_the_name_and_threads_of_the_other() -> None:
    engine = FakeEngine()
    deciding = ThresholdEngine(engine, MATRIX)
    deciding.prepare_thread()
    assert (deciding.name, deciding.platform, engine.prepared) == ("fake", "fake platform", 1)

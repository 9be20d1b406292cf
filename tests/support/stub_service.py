# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A service on an engine that is simple enough to predict: for tests of the transports without a bundle."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from tests.support.contracts import MATRIX
from tidegate.batch import Batch
from tidegate_serving.codecs.request import Limits
from tidegate_serving.engines.base import OutputNames
from tidegate_serving.errors import RequestError
from tidegate_serving.observability.metrics import Metrics
from tidegate_serving.observability.recorder import ResponseRecorder
from tidegate_serving.service import Service

NAME = "test"
VERSION = "abc"
BUNDLE = SimpleNamespace(digest="d" * 64)
LIMITS = Limits(rows=20, body_bytes=4_000)


class DoublingEngine:
    """Predicts the double of each row's first value."""

    name = platform = "doubling"
    selects_outputs = False

    def prepare_thread(self) -> None:
        pass

    def run(self, batch: Batch, output_names: OutputNames = None) -> Mapping[str, NDArray[Any]]:
        doubled = batch.arrays["input-0"][:, 0] * 2
        return {
            "label": doubled.astype("int64"),
            "probabilities": batch.arrays["input-0"] * 0 + doubled.reshape(-1, 1),
        }


class BlockingEngine(DoublingEngine):
    """Waits in each call until it is released."""

    def __init__(self) -> None:
        self.started, self.released = threading.Event(), threading.Event()

    def run(self, batch: Batch, output_names: OutputNames = None) -> Mapping[str, NDArray[Any]]:
        self.started.set()
        assert self.released.wait(50)
        return super().run(batch, output_names)


class FailingEngine(DoublingEngine):
    """Fails on every batch."""

    def run(self, batch: Batch, output_names: OutputNames = None) -> Mapping[str, NDArray[Any]]:
        raise RuntimeError("secret cause")


class StubDriftMonitor:
    """Records nothing."""

    def record_batch(self, batch: Batch, outputs: Mapping[str, NDArray[Any]]) -> None:
        pass

    def record_error(self, error: RequestError) -> None:
        pass


@dataclass
class StubPredictor:
    """The attributes of a predictor that the transports use."""

    service: Service
    metrics: Metrics
    ready: bool = True

    def counts(self, metric: str) -> dict[tuple[str, ...], float]:
        """The samples of a counter above 0, by their labels' values in the order of the labels' names."""
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in self.metrics.collect()
            for sample in family.samples
            if sample.name == metric and sample.value
        }


def make_predictor(
    engine: DoublingEngine | None = None,
    *,
    ready: bool = True,
    limits: Limits = LIMITS,
    recorder: ResponseRecorder | None = None,
) -> StubPredictor:
    model: Any = SimpleNamespace(
        contract=MATRIX, engine=engine or DoublingEngine(), version=VERSION, bundle=BUNDLE
    )
    metrics = Metrics(CollectorRegistry(), NAME)
    metrics.recorder = recorder
    monitor: Any = StubDriftMonitor()
    return StubPredictor(Service(NAME, model, limits, metrics, monitor), metrics, ready)

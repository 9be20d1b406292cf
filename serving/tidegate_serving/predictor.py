# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The predictor: KServe's model class around a verified bundle.

``load`` verifies and builds the bundle and runs its golden requests; the model is not ready before, in
contrast to KServe's conventions. One predictor serves one bundle, which never changes.
"""

from pathlib import Path
from typing import Any

import orjson
from prometheus_client import REGISTRY, CollectorRegistry

from tidegate.errors import ServerError
from tidegate.trust.policy import Policy
from tidegate_serving._kserve import (
    POST_HIST_TIME,
    PRE_HIST_TIME,
    PREDICT_HIST_TIME,
    InferRequest,
    InferResponse,
    Model,
)
from tidegate_serving.batching.warmup import measure_service_times
from tidegate_serving.codecs import v1
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import MAX_QUEUE_DELAY, EngineChoice
from tidegate_serving.loading.loader import LoadedModel, load
from tidegate_serving.observability.baseline import load_baseline
from tidegate_serving.observability.drift_monitor import DriftMonitor
from tidegate_serving.observability.metrics import Metrics, Record
from tidegate_serving.selfcheck import verify_golden_outputs
from tidegate_serving.service import Service


class Predictor(Model):
    """A bundle as a KServe model.

    Args:
        name: The model's name in requests.
        path: The bundle's directory.
        digest: The expected digest; None accepts the bundle's own.
        policy: What may be built from the bundle.
        engine: The engine to use.
        limits: The largest request that is accepted.
        max_queue_delay: The longest accepted queue delay, in seconds.
        registry: The Prometheus registry that exposes the metrics.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        digest: str | None = None,
        *,
        policy: Policy | None = None,
        engine: EngineChoice = EngineChoice.AUTO,
        limits: Limits | None = None,
        max_queue_delay: float = MAX_QUEUE_DELAY,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        super().__init__(name)
        self._path = path
        self._digest = digest
        self._policy = policy or Policy()
        self._engine = engine
        self._limits = limits or Limits()
        self._max_queue_delay = max_queue_delay
        self._registry = registry
        self._service: Service | None = None

    def load(self) -> bool:
        """Verify and build the bundle, run its golden requests, and measure the engine.

        Raises:
            BundleError: If the bundle does not have the expected digest, must not be loaded here, or
                computes other outputs than in training.
        """
        model: LoadedModel = load(self._path, self._digest, self._policy, self._engine)
        verify_golden_outputs(model, self._limits)
        kserve_metrics = (PRE_HIST_TIME, PREDICT_HIST_TIME, POST_HIST_TIME)
        metrics = Metrics(self._registry, self.name, replaced=kserve_metrics)
        metrics.record_model(self.name, model)
        drift_monitor = DriftMonitor(model.contract, load_baseline(model.bundle), self._registry)
        self._service = Service(
            self.name,
            model,
            self._limits,
            metrics,
            drift_monitor,
            self._max_queue_delay,
            measure_service_times(model.engine, model.contract),
        )
        self.ready = True
        return True

    def start(self) -> None:
        """Leave the readiness unchanged; KServe's method would set it."""

    def stop(self) -> None:
        """Become unready and stop the engine's thread."""
        self.ready = False
        if self._service is not None:
            self._service.close()

    @property
    def service(self) -> Service:
        """The service of the loaded model.

        Raises:
            ServerError: If the model is not loaded.
        """
        if self._service is None:
            raise ServerError(f"The model {self.name} is not loaded: call load() first.")
        return self._service

    async def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """Compute predictions for a payload of KServe's model class.

        Args:
            payload: A V1 request as a dictionary, or an ``InferRequest``.
            headers: Not used; the signature is KServe's.

        Returns:
            A V1 response as a dictionary, or an ``InferResponse``.

        Raises:
            RequestError: If the contract does not allow the request.
        """
        service = self.service
        if not isinstance(payload, InferRequest):
            outcome = await service.infer(
                lambda: v1.parse(service.contract, payload, service.limits), Record()
            )
            return orjson.loads(service.encode_v1(*outcome)[0])
        content, header_length = payload.to_rest()
        body = (
            content
            if isinstance(content, bytes)
            else orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        )
        outcome = await service.infer(lambda: service.parse_v2(body, header_length), Record())
        response, length = service.encode_v2(*outcome)
        return InferResponse.from_bytes(response, len(response) if length is None else length)

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the input tensors of the model metadata."""
        return self.service.inputs()

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the output tensors of the model metadata."""
        return self.service.outputs()

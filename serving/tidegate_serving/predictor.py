# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The predictor: KServe's model class around a verified bundle.

``load`` verifies, builds and asks the golden questions; until it has passed, the model is not ready, whatever
KServe's conventions say. One predictor serves one bundle, which never changes.
"""

from pathlib import Path
from typing import Any

import orjson

from tidegate.errors import ServerError
from tidegate_serving import selfcheck
from tidegate_serving._kserve import (
    POST_HIST_TIME,
    PRE_HIST_TIME,
    PREDICT_HIST_TIME,
    InferRequest,
    InferResponse,
    Model,
)
from tidegate_serving.codecs import decode
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import EngineChoice
from tidegate_serving.loading.loader import LoadedModel, load
from tidegate_serving.loading.policy import Policy
from tidegate_serving.observability.baseline import load_baseline
from tidegate_serving.observability.drift_monitor import DriftMonitor
from tidegate_serving.observability.metrics import Metrics, Record
from tidegate_serving.service import Service


class Predictor(Model):
    """A bundle as a KServe model.

    Args:
        name: The name that requests use.
        path: The bundle's directory.
        digest: The digest that the bundle must have; None accepts the one it has.
        policy: What may be built.
        engine: Which engine to use.
        limits: How much a request may ask.
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
    ) -> None:
        super().__init__(name)
        self._path = path
        self._digest = digest
        self._policy = policy or Policy()
        self._engine = engine
        self._limits = limits or Limits()
        self._service: Service | None = None

    def load(self) -> bool:
        """Verify and build the bundle, and ask its golden questions.

        Raises:
            BundleError: It is not what its digest says, may not be loaded here, or answers wrongly.
        """
        model: LoadedModel = load(self._path, self._digest, self._policy, self._engine)
        selfcheck.check(model, self._limits)
        metrics = Metrics(model=self.name, replaced=(PRE_HIST_TIME, PREDICT_HIST_TIME, POST_HIST_TIME))
        metrics.record_model(self.name, model)
        observer = DriftMonitor(model.contract, load_baseline(model.bundle))
        self._service = Service(self.name, model, self._limits, metrics, observer)
        self.ready = True
        return True

    def start(self) -> None:
        """Leave readiness as loading left it; KServe's own would set it."""

    def stop(self) -> None:
        """Stop answering."""
        self.ready = False
        if self._service is not None:
            self._service.close()

    @property
    def service(self) -> Service:
        """What answers.

        Raises:
            ServerError: The model is not loaded.
        """
        if self._service is None:
            raise ServerError(f"The model {self.name} is not loaded: call load() first.")
        return self._service

    async def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """Answer a V1 payload (a dictionary) or an ``InferRequest``, as KServe's own model class would.

        Raises:
            RequestError: The request is not one that the contract allows.
        """
        service = self.service
        if not isinstance(payload, InferRequest):
            reply = await service.ask(
                lambda: decode.parse_v1(service.contract, payload, service.limits), Record()
            )
            return orjson.loads(service.encode_v1(*reply)[0])
        content, header_length = payload.to_rest()
        body = (
            content
            if isinstance(content, bytes)
            else orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        )
        reply = await service.ask(lambda: service.parse_v2(body, header_length), Record())
        answer, length = service.encode_v2(*reply)
        return InferResponse.from_bytes(answer, len(answer) if length is None else length)

    def get_input_types(self) -> list[dict[str, Any]]:
        """The input tensors, as the Open Inference Protocol's metadata has them."""
        return self.service.inputs()

    def get_output_types(self) -> list[dict[str, Any]]:
        """The output tensors, as the Open Inference Protocol's metadata has them."""
        return self.service.outputs()

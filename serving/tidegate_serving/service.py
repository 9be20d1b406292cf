# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The service: one loaded model with its codecs and its batcher, for every transport.

REST and gRPC are thin layers on top of it, so that both return the same outputs and the same errors. It knows
neither transport.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Output
from tidegate_serving.batching.admission import AdmissionController
from tidegate_serving.batching.batcher import Batcher
from tidegate_serving.batching.engine_thread import EngineThread
from tidegate_serving.batching.pending import Lane
from tidegate_serving.batching.runner import Outcome
from tidegate_serving.batching.service_time import ServiceTimeEstimator
from tidegate_serving.codecs import v1, v2
from tidegate_serving.codecs.inputs import Inputs, validate_inputs
from tidegate_serving.codecs.request import InferenceRequest, Limits
from tidegate_serving.config import MAX_QUEUE_DELAY
from tidegate_serving.engines.base import Outputs
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.hooks import HookedEngine, HookedOutputs
from tidegate_serving.loading.loader import LoadedModel
from tidegate_serving.observability.drift_monitor import DriftMonitor
from tidegate_serving.observability.metrics import Metrics
from tidegate_serving.observability.pairs import PairRecorder
from tidegate_serving.observability.request_metrics import Record, RequestMetrics
from tidegate_serving.observability.request_sample import RequestSample

logger = logging.getLogger("tidegate.serving")


@dataclass(slots=True)
class _FutureRequest:
    """A :class:`~tidegate_serving.batching.pending.PendingRequest` whose result a coroutine awaits."""

    inputs: Inputs
    rows: int
    outputs: tuple[Output, ...]
    enqueued_at: float
    deadline: float | None
    result: "asyncio.Future[ResultSlice]"
    cancelled: bool = False

    def resolve(self, outcome: Outcome) -> None:
        if self.result.done():  # cancelled in the same event-loop iteration
            return
        if isinstance(outcome, RequestError):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)


class Service:
    """One model, ready to serve.

    Args:
        name: The model's name in requests.
        model: The loaded model.
        limits: The largest request that is accepted.
        metrics: The server's metrics.
        drift_monitor: Counts features and predictions for drift.
        max_queue_delay: The longest accepted queue delay, in seconds.
        service_time: The engine's service times, if some are already measured.
    """

    def __init__(
        self,
        name: str,
        model: LoadedModel,
        limits: Limits,
        metrics: Metrics,
        drift_monitor: DriftMonitor,
        max_queue_delay: float = MAX_QUEUE_DELAY,
        service_time: ServiceTimeEstimator | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.limits = limits
        self.metrics: RequestMetrics = metrics
        self.drift_monitor: DriftMonitor | None = drift_monitor
        """Counts features and predictions; None for mirrored requests."""
        self.pairs: PairRecorder | None = None
        """Keeps a sample of the predictions in memory; None if none are kept."""
        self.request_sample: RequestSample | None = None
        """Writes a sample of the requests to object storage; None if none is written."""
        self.contract = model.contract
        self._v2_encoder = v2.ResponseEncoder(name, model.version, self.contract.outputs)
        self.batcher = Batcher(
            model.engine,
            partial(validate_inputs, self.contract),
            metrics,
            service_time,
            admission=AdmissionController(max_queue_delay),
            on_result=(
                partial(_record_model_values, drift_monitor)
                if isinstance(model.engine, HookedEngine)
                else drift_monitor.record_batch
            ),
            thread=EngineThread(model.engine.prepare_thread),
        )
        self.lane: Lane = self.batcher
        """The queue of the requests."""

    def create_shadow(self, metrics: RequestMetrics) -> "Service":
        """Return the service of mirrored requests: the same model and engine, in a lane of their own.

        Args:
            metrics: The counters of mirrored requests.
        """
        shadow = copy(self)
        shadow.lane, shadow.metrics, shadow.drift_monitor = self.batcher.shadow, metrics, None
        return shadow

    def validate_model(self, name: str, version: str | None) -> None:
        """Check that a request is for this model and version.

        Args:
            name: The model's name in the request.
            version: The model's version in the request, if the request has one.

        Raises:
            RequestError: If the server has no such model or version.
        """
        if name != self.name:
            raise RequestError(f"Model '{name:.60}' not found: expected '{self.name}'.", ErrorCode.NOT_FOUND)
        if version and version != self.model.version:
            raise RequestError(
                f"Version '{version:.60}' of model '{name}' not found: expected '{self.model.version}', the "
                "first digits of the bundle's digest.",
                ErrorCode.NOT_FOUND,
            )

    def parse_v1(self, body: bytes) -> InferenceRequest:
        """Parse a V1 request.

        Raises:
            RequestError: If the contract or the limits do not allow the request.
        """
        return v1.parse_body(self.contract, body, self.limits)

    def parse_v2(self, body: bytes | memoryview, header_length: int | None) -> InferenceRequest:
        """Parse a V2 request.

        Args:
            body: The request's body.
            header_length: How many bytes of the body are JSON; None if all are.

        Raises:
            RequestError: If the protocol, the contract or the limits do not allow the request.
        """
        return v2.parse(self.contract, body, header_length, self.limits)

    def encode_v1(self, request: InferenceRequest, result: ResultSlice) -> tuple[bytes, None]:
        """Encode a V1 response, with the signature of :meth:`encode_v2`."""
        return v1.encode(request.outputs, result), None

    def encode_v2(self, request: InferenceRequest, result: ResultSlice) -> tuple[bytes, int | None]:
        """Encode a V2 response.

        Returns:
            The body, and how many of its bytes are JSON; None if all are.
        """
        return self._v2_encoder.encode(request, result)

    async def infer(
        self, parse: Callable[[], InferenceRequest], record: Record, timeout: float | None = None
    ) -> tuple[InferenceRequest, ResultSlice]:
        """Parse a request and compute its outputs.

        Args:
            parse: Parses the request. It is called here, so that its duration is measured.
            record: The request's record in the metrics.
            timeout: The time in seconds that the client waits for the response; None if unlimited.

        Returns:
            The request and its rows of the batch's result.

        Raises:
            RequestError: If the request is rejected, or the model fails on it.
        """
        try:
            request, pending = self._submit(parse, record, timeout)
        except RequestError as error:
            if error.code is not ErrorCode.RESOURCE_EXHAUSTED:
                raise
            rejection = error.without_frames()
        else:
            try:
                return request, await pending.result
            except asyncio.CancelledError:
                pending.cancelled = True
                raise
            finally:
                del pending  # it has the error, whose traceback has this frame
        del parse  # it holds the request's bytes
        await asyncio.sleep(self.lane.rejection_seconds)
        try:
            raise rejection
        finally:
            del rejection

    def _submit(
        self, parse: Callable[[], InferenceRequest], record: Record, timeout: float | None
    ) -> tuple[InferenceRequest, _FutureRequest]:
        """Parse a request and submit it to the lane, with the arguments of :meth:`infer`."""
        started = time.perf_counter()
        self.lane.reject_if_overloaded(started)
        request = parse()
        record.rows = len(request.inputs)
        pending = _FutureRequest(
            request.inputs,
            record.rows,
            request.outputs,
            enqueued_at=time.perf_counter(),
            deadline=None if timeout is None else started + timeout,
            result=asyncio.get_running_loop().create_future(),
        )
        self.metrics.record_parse(pending.enqueued_at - started)
        self.lane.submit(pending)
        return request, pending

    def record_error(self, error: RequestError) -> None:
        """Count an error response."""
        self.metrics.record_rejection(error)
        if self.drift_monitor is not None:
            self.drift_monitor.record_error(error)

    @property
    def samples_requests(self) -> bool:
        """Whether some requests are sampled, so that their ids are needed."""
        return self.pairs is not None or self.request_sample is not None

    def sample(self, request_id: str | None, request: InferenceRequest, result: ResultSlice) -> None:
        """Sample the request and its outputs. Its response never depends on the sample.

        Args:
            request_id: The value of ``X-Request-Id``.
            request: The request.
            result: Its rows of the batch's result.
        """
        try:
            if self.pairs is not None:
                self.pairs.record(request_id, request.outputs, result)
            if self.request_sample is not None:
                self.request_sample.record(request_id, result)
        except Exception:  # an error would fail the other requests of the batch
            logger.exception("A request cannot be sampled.")

    def server_metadata(self, version: str) -> dict[str, Any]:
        """Return the server metadata of the Open Inference Protocol."""
        return {"name": "tidegate", "version": version, "extensions": ["binary_tensor_data"]}

    def model_metadata(self) -> dict[str, Any]:
        """Return the model metadata of the Open Inference Protocol; -1 is any number of rows."""
        return {
            "name": self.name,
            "versions": [self.model.version],
            "platform": self.model.engine.platform,
            "inputs": self.inputs(),
            "outputs": self.outputs(),
        }

    def inputs(self) -> list[dict[str, Any]]:
        """Return the input tensors' metadata. A matrix may also be sent as one tensor per feature."""
        contract = self.contract
        if contract.matrix_datatype is not None:
            shape = [-1, len(contract.features)]
            return [{"name": MATRIX, "datatype": str(contract.matrix_datatype), "shape": shape}]
        return [
            {"name": feature.name, "datatype": str(feature.datatype), "shape": [-1]}
            for feature in contract.features
        ]

    def outputs(self) -> list[dict[str, Any]]:
        """Return the output tensors' metadata.

        Its parameters are the labels of its columns, or the decision threshold of the label.
        """
        outputs = []
        for output in self.contract.outputs:
            shape = [-1] if output.width is None else [-1, output.width]
            entry: dict[str, Any] = {"name": output.name, "datatype": str(output.datatype), "shape": shape}
            threshold = self.contract.threshold
            if output.labels:
                entry["parameters"] = {"labels": list(output.labels)}
            elif threshold is not None and output is self.contract.prediction:
                entry["parameters"] = {
                    "positive_label": threshold.positive_label,
                    "threshold": threshold.value,
                }
            outputs.append(entry)
        return outputs

    def close(self) -> None:
        """Stop the engine's thread after its current batch."""
        self.batcher.close()


class Served(Protocol):
    """A model as a listener sees it: a predictor, or its view for mirrored requests."""

    @property
    def ready(self) -> bool:
        """Whether the model serves."""

    @property
    def service(self) -> Service:
        """The service of the loaded model."""


def _record_model_values(drift_monitor: DriftMonitor, _: Batch, outputs: Outputs) -> None:
    """Count the rows and outputs between the hooks, because the baseline describes those of the model."""
    assert isinstance(outputs, HookedOutputs)
    drift_monitor.record_batch(outputs.batch, outputs.outputs)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The service: a loaded model behind decoding and encoding, for whichever transport asks.

REST and gRPC are thin readers and writers around it, so that both give the same answers and the same
sentences. It knows neither.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tidegate.contract import MATRIX, Output
from tidegate_serving.batching.batcher import Batcher, Outcome
from tidegate_serving.codecs import decode, encode
from tidegate_serving.codecs.encode import ResultSlice
from tidegate_serving.codecs.inputs import Inputs, check
from tidegate_serving.codecs.request import InferenceRequest, Limits
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.loading.loader import LoadedModel
from tidegate_serving.observability.drift_monitor import DriftMonitor
from tidegate_serving.observability.metrics import Metrics, Record

Reply = tuple[InferenceRequest, ResultSlice]
"""A question and its answers."""


@dataclass(slots=True)
class _Awaited:
    """A request that a coroutine waits for."""

    inputs: Inputs
    rows: int
    outputs: tuple[Output, ...]
    enqueued_at: float
    deadline: float | None
    answer: "asyncio.Future[ResultSlice]"
    cancelled: bool = False

    def resolve(self, outcome: Outcome) -> None:
        if self.answer.done():  # cancelled in this very turn of the loop
            return
        if isinstance(outcome, RequestError):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class Service:
    """One model, ready to answer.

    Args:
        name: The name that requests use.
        model: The loaded model.
        limits: How much a request may ask.
        metrics: What counts.
        observer: What watches questions and answers for drift.
    """

    def __init__(
        self, name: str, model: LoadedModel, limits: Limits, metrics: Metrics, observer: DriftMonitor
    ) -> None:
        self.name = name
        self.model = model
        self.limits = limits
        self.metrics = metrics
        self.observer = observer
        self.contract = model.contract
        self._v2 = encode.V2(name, model.version, self.contract.outputs)
        self.batcher = Batcher(
            model.engine,
            partial(check, self.contract),
            metrics,
            on_result=observer.record_batch,
            prepare_thread=model.engine.prepare_thread,
        )

    def validate_model(self, name: str, version: str | None) -> None:
        """Refuse a request for another model, or another version of it.

        Raises:
            RequestError: There is no such model here.
        """
        if name != self.name:
            raise RequestError(
                f"There is no model '{name:.60}' here: expected '{self.name}'.", ErrorCode.NOT_FOUND
            )
        if version and version != self.model.version:
            raise RequestError(
                f"There is no version '{version:.60}' of {name} here: expected '{self.model.version}', "
                "the first digits of the bundle's digest.",
                ErrorCode.NOT_FOUND,
            )

    def parse_v1(self, body: bytes) -> InferenceRequest:
        """A V1 request's question.

        Raises:
            RequestError: The request is not one that the contract allows.
        """
        return decode.parse_v1(self.contract, decode.parse_json(body), self.limits)

    def parse_v2(self, body: bytes, header_length: int | None) -> InferenceRequest:
        """A V2 request's question.

        Raises:
            RequestError: The request is not one that the contract allows.
        """
        return decode.parse_v2(self.contract, body, header_length, self.limits)

    def encode_v1(self, _: InferenceRequest, share: ResultSlice) -> tuple[bytes, None]:
        """A V1 answer, in the form of :meth:`write_v2`."""
        return encode.v1(self.contract, share), None

    def encode_v2(self, question: InferenceRequest, share: ResultSlice) -> tuple[bytes, int | None]:
        """A V2 answer, and how many bytes of it are JSON if binary tensors follow, else None."""
        return self._v2.encode(question, share)

    async def ask(
        self, read: Callable[[], InferenceRequest], record: Record, deadline: float | None = None
    ) -> Reply:
        """Read a question and compute its answers.

        Args:
            read: What reads it, so that its time is counted.
            record: What is counted of the request.
            deadline: How many seconds its client will wait.

        Raises:
            RequestError: The request is refused, or the model failed on it.
        """
        started = time.perf_counter()
        self.batcher.reject_if_overloaded(started)
        question = read()
        record.rows = len(question.inputs)
        job = _Awaited(
            question.inputs,
            record.rows,
            question.outputs,
            enqueued_at=time.perf_counter(),
            deadline=None if deadline is None else started + deadline,
            answer=asyncio.get_running_loop().create_future(),
        )
        self.metrics.record_parse(job.enqueued_at - started)
        self.batcher.submit(job)
        try:
            return question, await job.answer
        except asyncio.CancelledError:
            job.cancelled = True
            raise

    def record_error(self, error: RequestError) -> None:
        """Count a request that gets no answer."""
        self.metrics.record_rejection(error)
        self.observer.record_error(error)

    def server_metadata(self, version: str) -> dict[str, Any]:
        """Server metadata, as the Open Inference Protocol has it."""
        return {"name": "tidegate", "version": version, "extensions": ["binary_tensor_data"]}

    def model_metadata(self) -> dict[str, Any]:
        """Model metadata, as the Open Inference Protocol has it; -1 stands for any number of rows."""
        return {
            "name": self.name,
            "versions": [self.model.version],
            "platform": self.model.engine.platform,
            "inputs": self.inputs(),
            "outputs": self.outputs(),
        }

    def inputs(self) -> list[dict[str, Any]]:
        """The input tensors' names, types and shapes. A matrix may be sent as a tensor a feature too."""
        contract = self.contract
        if contract.matrix_datatype is not None:
            shape = [-1, len(contract.features)]
            return [{"name": MATRIX, "datatype": str(contract.matrix_datatype), "shape": shape}]
        return [
            {"name": feature.name, "datatype": str(feature.datatype), "shape": [-1]}
            for feature in contract.features
        ]

    def outputs(self) -> list[dict[str, Any]]:
        """The output tensors' names, types and shapes."""
        return [
            {
                "name": output.name,
                "datatype": str(output.datatype),
                "shape": [-1] if output.width is None else [-1, output.width],
            }
            for output in self.contract.outputs
        ]

    def close(self) -> None:
        """Release the engine's thread."""
        self.batcher.close()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The servicer: the calls of the Open Inference Protocol, on the same service as REST, for both transports.

Messages arrive as bytes and are parsed here, so that a malformed one is the client's error and not an
internal one. KServe's servicer is not used, because it returns ``INTERNAL`` for errors of the client.

A transport passes a message and its call to a method, and the response returns by a call of one of the call's
methods: at once, or after the engine call for inference. So a call needs neither a task nor a future.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tidegate import __version__
from tidegate.contract import Output
from tidegate_serving._kserve import pb
from tidegate_serving.batching.runner import Outcome
from tidegate_serving.codecs.inputs import Inputs
from tidegate_serving.codecs.request import InferenceRequest
from tidegate_serving.errors import (
    BodyTooLargeError,
    ErrorCode,
    RequestError,
    internal_error,
    model_not_ready,
    unimplemented,
)
from tidegate_serving.grpc.codec import ResponseEncoder, parse_infer_request, parse_message
from tidegate_serving.hold import ResponseHold
from tidegate_serving.request_context import REQUEST_ID_HEADER, RequestContext
from tidegate_serving.service import Served, Service

SERVICE = "inference.GRPCInferenceService"

MODEL_INFER = f"/{SERVICE}/ModelInfer"

_REQUEST_ID_KEY = REQUEST_ID_HEADER.lower()
_CANCELLED = "CANCELLED"

logger = logging.getLogger("tidegate.serving")


class Call(Protocol):
    """A call that waits for its response, as its transport has it."""

    trailing_metadata: tuple[tuple[str, str], ...]
    """Metadata to send with the response."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The client's metadata by key; of a key that occurs twice, the last value."""

    @property
    def client(self) -> str:
        """The address of the connection's other side; empty if it is unknown."""

    @property
    def deadline(self) -> float | None:
        """The time until which the client waits, in seconds of the batcher's clock; None if unlimited."""

    def respond(self, message: bytes) -> bool:
        """Send the response's message; return whether the client still waits for it."""

    def reject(self, error: RequestError) -> bool:
        """Send an error; return whether the client still waits for it."""


class PendingCall(Protocol):
    """A call that has no response yet."""

    def cancel(self) -> None:
        """Note that the client does not wait any more."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the service."""

    start: Callable[[bytes, Call], PendingCall | None]
    """Take a message; return the call if its response follows later."""
    reject: Callable[[RequestError, Call], object]
    """Reject a call whose message is not read."""


class Servicer:
    """The methods of the service."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.service: Service = served.service
        self._hold = ResponseHold()
        self._encoder = ResponseEncoder(
            self.service.name, self.service.model.version, self.service.contract.outputs
        )
        self.methods: dict[str, Method] = {
            f"/{SERVICE}/{name}": method
            for name, method in {
                "ServerLive": _metadata_method(pb.ServerLiveRequest, self.server_live),
                "ServerReady": _metadata_method(pb.ServerReadyRequest, self.server_ready),
                "ModelReady": _metadata_method(pb.ModelReadyRequest, self.model_ready),
                "ServerMetadata": _metadata_method(pb.ServerMetadataRequest, self.server_metadata),
                "ModelMetadata": _metadata_method(pb.ModelMetadataRequest, self.model_metadata),
                "ModelInfer": Method(self.infer, self.reject_infer),
                "RepositoryModelLoad": _metadata_method(pb.RepositoryModelLoadRequest, self.load),
                "RepositoryModelUnload": _metadata_method(pb.RepositoryModelUnloadRequest, self.unload),
            }.items()
        }
        """The methods by path, from bytes to bytes."""

    def server_live(self, _: Any) -> Any:
        """Return true: the process is alive."""
        return pb.ServerLiveResponse(live=True)

    def server_ready(self, _: Any) -> Any:
        """Return whether the model is ready."""
        return pb.ServerReadyResponse(ready=self._served.ready)

    def model_ready(self, request: Any) -> Any:
        """Return whether the model is ready."""
        self.service.validate_model(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._served.ready)

    def server_metadata(self, _: Any) -> Any:
        """Return the server's name and version. Raw contents are part of gRPC and not an extension."""
        metadata = self.service.server_metadata(__version__)
        return pb.ServerMetadataResponse(name=metadata["name"], version=metadata["version"])

    def model_metadata(self, request: Any) -> Any:
        """Return the model's inputs and outputs, without parameters, which the message does not have."""
        self.service.validate_model(request.name, request.version)
        metadata = self.service.model_metadata()
        for output in metadata["outputs"]:
            output.pop("parameters", None)
        return pb.ModelMetadataResponse(**metadata)

    def infer(self, content: bytes, call: Call) -> "PendingCall | None":
        """Compute the outputs of a ``ModelInferRequest``.

        Args:
            content: The message.
            call: The call, which receives the response.

        Returns:
            The call that is computed, or whose rejection is held; None if it has its response.
        """
        service, lane = self.service, self.service.lane
        pending = self._begin(call)
        try:
            if len(content) > service.limits.body_bytes:
                raise BodyTooLargeError(service.limits.body_bytes)
            # Before the message is parsed, because that costs more than the rejection.
            lane.reject_if_overloaded(pending.arrived_at)
            message = parse_message(pb.ModelInferRequest, content)
            service.validate_model(message.model_name, message.model_version)
            if not self._served.ready:
                raise model_not_ready(service.name)
            request = parse_infer_request(service.contract, message, service.limits)
            pending.set_request(request, bool(message.raw_input_contents))
            service.metrics.record_parse(pending.enqueued_at - pending.arrived_at)
            lane.submit(pending)
        except RequestError as error:
            if error.code is ErrorCode.RESOURCE_EXHAUSTED:
                rejected = RejectedCall(pending, error)
                self._hold.add(rejected, lane.rejection_seconds, asyncio.get_running_loop())
                return rejected
            pending.reject(error)
            return None
        except Exception:  # the log receives the cause, the client a general message
            logger.exception("A gRPC call failed.")
            pending.reject(internal_error())
            return None
        return pending

    def reject_infer(self, error: RequestError, call: Call) -> None:
        """Reject an inference request whose message is not read."""
        self._begin(call).reject(error)

    def _begin(self, call: Call) -> "InferCall":
        """Count the start of a call, and add its context if the server has a recorder."""
        context = None
        if (recorder := self.service.metrics.recorder) is not None:
            context = request_context(call, recorder.headers)
            call.trailing_metadata = ((_REQUEST_ID_KEY, context.request_id),)
        return InferCall(self.service, self._encoder, call, context)

    def load(self, _: Any) -> Any:
        """Reject the call, because the bundle is immutable.

        Raises:
            RequestError: If called.
        """
        raise unimplemented("load")

    def unload(self, _: Any) -> Any:
        """Reject the call, because the bundle is immutable.

        Raises:
            RequestError: If called.
        """
        raise unimplemented("unload")


class InferCall:
    """An inference call, from its message to its response: in the metrics, in the queue and in the engine.

    Args:
        service: The service.
        encoder: The encoder of responses.
        call: The call as its transport has it.
        context: The request's context; None without a recorder.
    """

    __slots__ = (
        "arrived_at",
        "as_raw",
        "call",
        "cancelled",
        "context",
        "deadline",
        "encoder",
        "enqueued_at",
        "inputs",
        "outputs",
        "request",
        "rows",
        "service",
    )

    request: InferenceRequest
    inputs: Inputs
    outputs: tuple[Output, ...]
    enqueued_at: float
    as_raw: bool

    def __init__(
        self, service: Service, encoder: ResponseEncoder, call: Call, context: RequestContext | None
    ) -> None:
        self.service = service
        self.encoder = encoder
        self.call = call
        self.context = context
        self.deadline = call.deadline
        self.rows = 0
        self.cancelled = False
        self.arrived_at = time.perf_counter()
        service.metrics.in_flight.start(self.arrived_at)

    def set_request(self, request: InferenceRequest, as_raw: bool) -> None:
        """Set the parsed request, and whether its tensors are raw, as those of the response will be."""
        self.request = request
        self.inputs = request.inputs
        self.outputs = request.outputs
        self.rows = len(request.inputs)
        self.as_raw = as_raw
        self.enqueued_at = time.perf_counter()

    def resolve(self, outcome: Outcome) -> None:
        """Send the response."""
        if isinstance(outcome, RequestError):
            self.reject(outcome)
            return
        service, request = self.service, self.request
        try:
            message = self.encoder.encode(request, outcome, as_raw=self.as_raw)
        except Exception:  # the log receives the cause, the client a general message
            logger.exception("A gRPC call failed.")
            self.reject(internal_error())
            return
        self._record("OK" if self.call.respond(message) else _CANCELLED)
        if service.samples_requests:
            service.sample(self.call.metadata.get(_REQUEST_ID_KEY), request, outcome)

    def reject(self, error: RequestError) -> None:
        """Send an error."""
        error.without_frames()
        self.service.record_error(error)
        self._record(error.code.grpc_status if self.call.reject(error) else _CANCELLED)

    def cancel(self) -> None:
        """Count that the client does not wait any more. The batcher drops the request."""
        self.cancelled = True
        self._record(_CANCELLED)

    def _record(self, code: str) -> None:
        self.service.metrics.record_response("grpc", code, self.rows, self.arrived_at, self.context)


class RejectedCall:
    """A rejected call whose response is held, so that a client that retries at once uses little CPU.

    Neither the message nor the parsed request is kept meanwhile.

    Args:
        call: The call.
        error: The reason.
    """

    __slots__ = ("_call", "_error")

    def __init__(self, call: InferCall, error: RequestError) -> None:
        for name in ("request", "inputs"):
            if hasattr(call, name):
                delattr(call, name)
        self._call = call
        self._error = error.without_frames()

    def send(self) -> None:
        """Send the response, unless the client does not wait any more."""
        if not self._call.cancelled:
            self._call.reject(self._error)

    def cancel(self) -> None:
        """Send no response."""
        self._call.cancel()


def request_context(call: Call, recorded: Collection[str]) -> RequestContext:
    """Return the context of a call.

    Args:
        call: The call.
        recorded: The keys of the metadata that the context has.
    """
    metadata = call.metadata
    return RequestContext.of({key: metadata[key] for key in recorded if key in metadata}, call.client)


def _metadata_method(message_class: Any, handle: Callable[[Any], Any]) -> Method:
    """Return a method about the server or its model, which responds at once and is not counted."""

    def start(content: bytes, call: Call) -> None:
        try:
            message = handle(parse_message(message_class, content)).SerializeToString()
        except RequestError as error:
            call.reject(error)
        except Exception:  # the log receives the cause, the client a general message
            logger.exception("A gRPC call failed.")
            call.reject(internal_error())
        else:
            call.respond(message)

    return Method(start, lambda error, call: call.reject(error))

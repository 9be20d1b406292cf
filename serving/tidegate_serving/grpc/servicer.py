# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""gRPC: the Open Inference Protocol's service, on the same decoding, core and encoding as REST.

Messages arrive as bytes and are parsed here, so that a malformed one is the client's mistake and not an
internal error. KServe's message classes are used; its servicer, which answers mistakes with INTERNAL, is not.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from tidegate import __version__
from tidegate.contract import Datatype, Output
from tidegate.errors import ConfigurationError
from tidegate_serving._kserve import pb
from tidegate_serving.codecs import encode
from tidegate_serving.codecs.encode import ResultSlice
from tidegate_serving.codecs.request import InferenceRequest, new_id, select_outputs
from tidegate_serving.codecs.tensors import (
    Tensor,
    assemble,
    check_count,
    check_datatype,
    check_length,
    check_shape,
    from_raw,
    utf8,
)
from tidegate_serving.codecs.validation import DATATYPES, Array, Place
from tidegate_serving.drain import Drain, first
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.grpc.coalescing import CallCoalescer
from tidegate_serving.http.endpoints import body_too_large, internal_error, unimplemented
from tidegate_serving.predictor import Predictor

SERVICE = "inference.GRPCInferenceService"

Call = Callable[[bytes, float | None], Awaitable[Any]]
"""From a message's bytes and the seconds that its client waits, if it said so, to a message."""

_REFUSED_BY_GRPC = 2
"""How many times the limit a message has to be for gRPC itself to refuse it, unread and uncounted.

Up to there it is refused here: gRPC's own code for it is that of an overload, and clients then ask again."""

logger = logging.getLogger("tidegate.serving")

_FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of ``InferTensorContents`` that holds each data type; FP16 has none and comes raw."""


class Servicer:
    """The service's calls, each from a message to a message."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._service = predictor.service
        self._gathering = CallCoalescer()

    def handlers(self) -> grpc.GenericRpcHandler:
        """What gRPC's server dispatches to. It passes bytes."""
        calls: dict[str, Call] = {
            "ServerLive": _about(pb.ServerLiveRequest, self.server_live),
            "ServerReady": _about(pb.ServerReadyRequest, self.server_ready),
            "ModelReady": _about(pb.ModelReadyRequest, self.model_ready),
            "ServerMetadata": _about(pb.ServerMetadataRequest, self.server_metadata),
            "ModelMetadata": _about(pb.ModelMetadataRequest, self.model_metadata),
            "ModelInfer": self.model_infer,
            "RepositoryModelLoad": _about(pb.RepositoryModelLoadRequest, self.load),
            "RepositoryModelUnload": _about(pb.RepositoryModelUnloadRequest, self.unload),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(_bytes_to_bytes(call))
                for name, call in calls.items()
            },
        )

    async def server_live(self, _: Any) -> Any:
        """A process that answers is alive."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, _: Any) -> Any:
        """Ready when the one model is."""
        return pb.ServerReadyResponse(ready=self._predictor.ready)

    async def model_ready(self, request: Any) -> Any:
        """Whether the model answers."""
        self._service.validate_model(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._predictor.ready)

    async def server_metadata(self, _: Any) -> Any:
        """The server's name, version and extensions; gRPC has raw contents by itself."""
        metadata = self._service.server_metadata(__version__)
        return pb.ServerMetadataResponse(name=metadata["name"], version=metadata["version"])

    async def model_metadata(self, request: Any) -> Any:
        """The model's inputs and outputs."""
        self._service.validate_model(request.name, request.version)
        return pb.ModelMetadataResponse(**self._service.model_metadata())

    async def model_infer(self, content: bytes, left: float | None) -> Any:
        """Answer a question, for a client that waits so many seconds."""
        service = self._service
        with service.metrics.track_request("grpc") as record:
            try:
                await self._gathering.join()
                request = self._checked(content)
                reply = await service.ask(partial(self._read, request), record, left)
                raw = bool(request.raw_input_contents)
                answer = response(service.name, service.model.version, *reply, raw)
            except RequestError as error:
                service.record_error(error)
                record.code = error.code.grpc_status
                raise
            except asyncio.CancelledError:
                record.code = "CANCELLED"
                raise
            except Exception:
                record.code = ErrorCode.INTERNAL.grpc_status
                raise
            record.code = "OK"
            return answer

    def _checked(self, content: bytes) -> Any:
        """A request that may be read, for the model that is here."""
        service = self._service
        if len(content) > service.limits.body_bytes:
            raise body_too_large(service.limits.body_bytes)
        request = _parsed(pb.ModelInferRequest, content)
        service.validate_model(request.model_name, request.model_version)
        if not self._predictor.ready:
            raise RequestError(f"The model {service.name} is not ready.", ErrorCode.UNAVAILABLE)
        return request

    def _read(self, request: Any) -> InferenceRequest:
        contract = self._service.contract
        outputs = select_outputs(contract, (output.name for output in request.outputs))
        check_count(contract, len(request.inputs))
        return InferenceRequest(
            assemble(contract, tensors(request), self._service.limits), request.id or new_id(), outputs
        )

    async def load(self, _: Any) -> Any:
        """Refuse: the bundle never changes."""
        raise unimplemented("load")

    async def unload(self, _: Any) -> Any:
        """Refuse: the bundle never changes."""
        raise unimplemented("unload")


def tensors(request: Any) -> list[Tensor]:
    """The inputs of a ``ModelInferRequest``, from raw or typed contents.

    Raises:
        RequestError: They are not what the protocol allows.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise RequestError(
            f"raw_input_contents: expected one for each of the {len(request.inputs)} inputs, received "
            f"{len(raw)}."
        )
    found = []
    for index, entry in enumerate(request.inputs):
        where = f"inputs[{index}]"
        shape, datatype = check_shape(where, list(entry.shape)), check_datatype(where, entry.datatype)
        if raw:
            if entry.HasField("contents"):
                raise RequestError(
                    f"{where}.contents: expected none beside raw_input_contents, received some."
                )
            elements, place = from_raw(where, datatype, shape, raw[index]), _place(f"{where} element ", "")
        else:
            elements = _typed(where, datatype, shape, entry.contents)
            place = _place(f"{where}.contents.{_FIELDS[datatype]}[", "]")
        found.append(Tensor(where, entry.name, datatype, shape, elements, place))
    return found


def _place(before: str, after: str) -> Place:
    return lambda index: f"{before}{index}{after}"


def _typed(where: str, datatype: str, shape: tuple[int, ...], contents: Any) -> Array:
    if datatype not in _FIELDS:
        raise RequestError(
            f"{where}.datatype: expected {datatype} in raw_input_contents, received it as contents."
        )
    field = _FIELDS[datatype]
    for other, values in contents.ListFields():
        if other.name != field:
            raise RequestError(
                f"{where}.contents: expected {datatype} elements in {field}, received {len(values)} in "
                f"{other.name}."
            )
    values = getattr(contents, field)
    check_length(where, shape, len(values))
    if datatype == "BYTES":
        return np.array([utf8(value, where, i) for i, value in enumerate(values)], dtype=object)
    dtype = DATATYPES[datatype]
    if dtype.kind in "iu" and dtype.itemsize < 4 and len(values):
        limits = np.iinfo(dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise RequestError(
                f"{where}.contents.{field}: expected {datatype} elements from {limits.min} to {limits.max}, "
                f"received from {min(values)} to {max(values)}."
            )
    return np.array(values, dtype=dtype)


def response(name: str, version: str, question: InferenceRequest, share: ResultSlice, raw: bool) -> Any:
    """A ``ModelInferResponse``, with raw contents if the question had them."""
    message = pb.ModelInferResponse(model_name=name, model_version=version, id=question.id)
    for output in question.outputs:
        array = share.array(output.name)
        tensor = message.outputs.add(name=output.name, datatype=str(output.datatype), shape=array.shape)
        if raw:
            message.raw_output_contents.append(encode.raw(output, array))
        else:
            getattr(tensor.contents, _FIELDS[output.datatype]).extend(_elements(output, array))
    return message


def _elements(output: Output, array: Array) -> Sequence[Any]:
    if output.datatype is Datatype.BYTES:
        return [str(value).encode() for value in array.reshape(-1)]
    return array.reshape(-1).tolist()


def _parsed(message: Any, content: bytes) -> Any:
    try:
        return message.FromString(content)
    except DecodeError:
        raise RequestError(
            f"The message is no {message.DESCRIPTOR.name}: its bytes cannot be parsed."
        ) from None


def _about(message: Any, answer: Callable[[Any], Awaitable[Any]]) -> Call:
    """A call about the server or its model, from the message that it is asked by."""

    async def call(content: bytes, _: float | None) -> Any:
        return await answer(_parsed(message, content))

    return call


def _bytes_to_bytes(call: Call) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[Any]]:
    """A call as gRPC's server wants it: bytes to bytes, refusals as status codes."""

    async def handle(content: bytes, context: grpc.aio.ServicerContext) -> Any:
        try:
            return bytes((await call(content, context.time_remaining())).SerializeToString())
        except RequestError as refusal:
            error = refusal
        except Exception:  # a fault of ours: the log has it, the client gets a sentence
            logger.exception("A gRPC call failed.")
            error = internal_error()
        return await context.abort(grpc.StatusCode[error.code.grpc_status], str(error))  # always raises

    return handle


def _ageing(drain: float, grace: float) -> list[tuple[str, int]]:
    """The largest age of a connection: half of the drain, so that each has ended before the server stops.

    In the moment in which it stops, gRPC's server cancels calls that still reach it. A connection that comes
    of age loses none: a first GOAWAY only asks for no new calls, and a second one ends it when the client
    must have seen the first (gRFC A9; RFC 9113, 6.8). The client connects again, after SIGTERM to another
    pod. For the same reason new pods get their share of clients that keep their channel.
    """
    if not drain:
        return []
    return [
        ("grpc.max_connection_age_ms", round(drain * 1000 / 2)),  # gRPC varies it by a tenth
        ("grpc.max_connection_age_grace_ms", round(grace * 1000)),
    ]


class GrpcServer:
    """gRPC's server around the servicer, stopped by a drain.

    Args:
        predictor: What answers.
        address: Where to listen, as host and port; port 0 takes a free one.
        drain: When to stop.
        grace: How many seconds what is in flight has then.
    """

    def __init__(self, predictor: Predictor, address: tuple[str, int], drain: Drain, grace: float) -> None:
        self._predictor = predictor
        self._host, self.port = address
        self._drain = drain
        self._grace = grace
        self.listening = asyncio.Event()

    async def serve(self) -> None:
        """Serve until the drain is over and what was in flight is answered.

        Raises:
            ConfigurationError: The port is taken.
        """
        limit = self._predictor.service.limits.body_bytes
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", _REFUSED_BY_GRPC * limit),
                ("grpc.max_send_message_length", -1),
                # Two servers on one port would share its connections without a word.
                ("grpc.so_reuseport", 0),
                *_ageing(self._drain.seconds, self._grace),
            ]
        )
        server.add_generic_rpc_handlers((Servicer(self._predictor).handlers(),))
        try:
            host = f"[{self._host}]" if ":" in self._host else self._host
            self.port = server.add_insecure_port(f"{host}:{self.port}")
        except RuntimeError:
            raise ConfigurationError(
                f"The gRPC port {self.port} of {self._host} cannot be used: is another server there? "
                "Choose one with --grpc-port."
            ) from None
        await server.start()
        self.listening.set()
        await self._drain.over.wait()
        await first(server.stop(self._grace), self._drain.forced.wait())

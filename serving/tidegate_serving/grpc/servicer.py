# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The servicer: the calls of the Open Inference Protocol, on the same service as REST.

Messages arrive as bytes and are parsed here, so that a malformed one is the client's error and not an
internal one. KServe's servicer is not used, because it returns ``INTERNAL`` for errors of the client.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any
from urllib.parse import unquote

import grpc

from tidegate import __version__
from tidegate_serving._kserve import pb
from tidegate_serving.errors import (
    BodyTooLargeError,
    ErrorCode,
    RequestError,
    internal_error,
    model_not_ready,
    unimplemented,
)
from tidegate_serving.grpc.coalescing import CallCoalescer
from tidegate_serving.grpc.codec import encode_infer_response, parse_infer_request, parse_message
from tidegate_serving.request_context import REQUEST_ID_HEADER, RequestContext
from tidegate_serving.service import Served

SERVICE = "inference.GRPCInferenceService"

Call = Callable[[bytes, grpc.aio.ServicerContext], Awaitable[Any]]
"""From a message's bytes and gRPC's context to a message."""

logger = logging.getLogger("tidegate.serving")


class Servicer:
    """The calls of the service, each from a message to a message."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._service = served.service
        self._coalescer = CallCoalescer()

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the calls by name, from bytes to bytes, as gRPC's server dispatches them."""
        calls: dict[str, Call] = {
            "ServerLive": _metadata_call(pb.ServerLiveRequest, self.server_live),
            "ServerReady": _metadata_call(pb.ServerReadyRequest, self.server_ready),
            "ModelReady": _metadata_call(pb.ModelReadyRequest, self.model_ready),
            "ServerMetadata": _metadata_call(pb.ServerMetadataRequest, self.server_metadata),
            "ModelMetadata": _metadata_call(pb.ModelMetadataRequest, self.model_metadata),
            "ModelInfer": self._recorded_infer,
            "RepositoryModelLoad": _metadata_call(pb.RepositoryModelLoadRequest, self.load),
            "RepositoryModelUnload": _metadata_call(pb.RepositoryModelUnloadRequest, self.unload),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {name: grpc.unary_unary_rpc_method_handler(_serialize(call)) for name, call in calls.items()},
        )

    async def server_live(self, _: Any) -> Any:
        """Return true: the process is alive."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, _: Any) -> Any:
        """Return whether the model is ready."""
        return pb.ServerReadyResponse(ready=self._served.ready)

    async def model_ready(self, request: Any) -> Any:
        """Return whether the model is ready."""
        self._service.validate_model(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._served.ready)

    async def server_metadata(self, _: Any) -> Any:
        """Return the server's name and version. Raw contents are part of gRPC and not an extension."""
        metadata = self._service.server_metadata(__version__)
        return pb.ServerMetadataResponse(name=metadata["name"], version=metadata["version"])

    async def model_metadata(self, request: Any) -> Any:
        """Return the model's inputs and outputs, without parameters, which the message does not have."""
        self._service.validate_model(request.name, request.version)
        metadata = self._service.model_metadata()
        for output in metadata["outputs"]:
            output.pop("parameters", None)
        return pb.ModelMetadataResponse(**metadata)

    async def _recorded_infer(self, content: bytes, call: grpc.aio.ServicerContext) -> Any:
        """Add the request's context, if the server has a recorder."""
        context = None
        if (recorder := self._service.metrics.recorder) is not None:
            context = request_context(call, recorder.headers)
            call.set_trailing_metadata(((REQUEST_ID_HEADER.lower(), context.request_id),))
        request_id = _request_id(call) if self._service.samples_requests else None
        return await self.model_infer(content, call.time_remaining(), context, request_id)

    async def model_infer(
        self,
        content: bytes,
        timeout_seconds: float | None,
        context: RequestContext | None = None,
        request_id: str | None = None,
    ) -> Any:
        """Compute the outputs of a ``ModelInferRequest``.

        Args:
            content: The message.
            timeout_seconds: The seconds until the client's deadline, if it has one.
            context: The request's context, if the server has a recorder.
            request_id: The client's id of the request, if requests are sampled.

        Raises:
            RequestError: If the request is rejected, or the model fails on it.
        """
        service = self._service
        with service.metrics.track_request("grpc", context) as record:
            try:
                await self._coalescer.wait()
                message = self._parse(content)
                as_raw = bool(message.raw_input_contents)
                parse = partial(parse_infer_request, service.contract, message, service.limits)
                inference = service.infer(parse, record, timeout_seconds)
                del message, parse  # while a rejection is held, its message is not
                request, result = await inference
                response = encode_infer_response(
                    service.name, service.model.version, request, result, as_raw=as_raw
                )
                service.sample(request_id, request, result)
            except RequestError as error:
                service.record_error(error)
                record.code = error.code.grpc_status
                raise
            except asyncio.CancelledError:
                record.code = grpc.StatusCode.CANCELLED.name
                raise
            except Exception:
                record.code = ErrorCode.INTERNAL.grpc_status
                raise
            record.code = grpc.StatusCode.OK.name
            return response

    def _parse(self, content: bytes) -> Any:
        """Return the message, if its size and its model are accepted and the model is ready."""
        service = self._service
        if len(content) > service.limits.body_bytes:
            raise BodyTooLargeError(service.limits.body_bytes)
        message = parse_message(pb.ModelInferRequest, content)
        service.validate_model(message.model_name, message.model_version)
        if not self._served.ready:
            raise model_not_ready(service.name)
        return message

    async def load(self, _: Any) -> Any:
        """Reject the call, because the bundle is immutable.

        Raises:
            RequestError: If called.
        """
        raise unimplemented("load")

    async def unload(self, _: Any) -> Any:
        """Reject the call, because the bundle is immutable.

        Raises:
            RequestError: If called.
        """
        raise unimplemented("unload")


def _request_id(call: grpc.aio.ServicerContext) -> str | None:
    """Return the first request id in the metadata of a call."""
    key = REQUEST_ID_HEADER.lower()
    values = (value for name, value in call.invocation_metadata() or () if name == key)
    value = next(values, None)
    return value if isinstance(value, str) else None


def request_context(call: grpc.aio.ServicerContext, recorded: Collection[str]) -> RequestContext:
    """Return the context of a call.

    Args:
        call: gRPC's context.
        recorded: The keys of the metadata that the context has.
    """
    metadata = {
        key: value if isinstance(value, str) else value.decode("latin-1")
        for key, value in call.invocation_metadata() or ()
        if key in recorded
    }
    # From gRPC's naming document: ipv4:127.0.0.1:80, ipv6:%5B::1%5D:80 or unix:path.
    family, _, address = unquote(call.peer()).partition(":")
    client = address.rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else ""
    return RequestContext.of(metadata, client)


def _metadata_call(message_class: Any, handle: Callable[[Any], Awaitable[Any]]) -> Call:
    """Return a call about the server or its model, which has no deadline of its own."""

    async def call(content: bytes, _: grpc.aio.ServicerContext) -> Any:
        return await handle(parse_message(message_class, content))

    return call


def _serialize(call: Call) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[Any]]:
    """Return a handler for gRPC's server, from bytes to bytes, with errors as status codes."""

    async def handle(content: bytes, context: grpc.aio.ServicerContext) -> Any:
        try:
            return bytes((await call(content, context)).SerializeToString())
        except RequestError as request_error:
            error = request_error
        except Exception:  # the log receives the cause, the client a general message
            logger.exception("A gRPC call failed.")
            error = internal_error()
        return await context.abort(grpc.StatusCode[error.code.grpc_status], str(error))  # always raises

    return handle

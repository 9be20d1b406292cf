# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""REST endpoints that replace KServe's own.

Inference goes through the service. Metadata and readiness report the model's true state, where KServe's
endpoints return empty lists or always ``true``. All other endpoints stay KServe's. No response contains a
stack trace.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate import __version__
from tidegate.protocol.constants import (
    BINARY_MEDIA_TYPE,
    INFERENCE_HEADER_CONTENT_LENGTH,
    JSON_MEDIA_TYPE,
    REQUEST_TIMEOUT_HEADER,
)
from tidegate_serving.codecs.request import InferenceRequest
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.errors import (
    BodyTooLargeError,
    ErrorCode,
    RequestError,
    internal_error,
    model_not_ready,
    unimplemented,
)
from tidegate_serving.headers import (
    ENVOY_TIMEOUT_HEADER,
    parse_json_length,
    parse_media_type,
    parse_timeout,
)
from tidegate_serving.http.disconnect import cancel_on_disconnect
from tidegate_serving.http.responses import (
    error_response,
    http_exception_response,
    inference_response,
    json_response,
)
from tidegate_serving.observability.request_metrics import CLIENT_CLOSED_REQUEST
from tidegate_serving.request_context import REQUEST_ID_HEADER, RequestContext
from tidegate_serving.service import Served

logger = logging.getLogger("tidegate.serving")

Handler = Callable[[Request], Awaitable[Response]]

Received = tuple[Callable[[], InferenceRequest], float | None]
"""The parser of a request whose body is complete, and the seconds that its client waits."""

Encoder = Callable[[InferenceRequest, ResultSlice], tuple[bytes, int | None]]
"""From a request and its outputs to the body, and the bytes of it that are JSON if binary tensors follow."""


def install(app: Starlette, served: Served, *, exposes_metrics: bool = True) -> None:
    """Put the endpoints before those of KServe's application, and remove its OpenAPI description.

    The description would be wrong about the endpoints that are replaced.

    Args:
        app: KServe's application.
        served: The loaded model.
        exposes_metrics: Whether the application keeps KServe's endpoint of the metrics.
    """
    openapi_url = getattr(app, "openapi_url", None)
    kept = [route for route in app.router.routes if getattr(route, "path", "") != openapi_url]
    hidden = [] if exposes_metrics else [Route("/metrics", _not_found)]
    app.router.routes[:] = [*routes(served), *hidden, *kept]
    app.add_exception_handler(HTTPException, http_exception_response)


def routes(served: Served) -> list[Route]:
    """Return the routes of the endpoints."""
    endpoints = _Endpoints(served)
    model = "/v2/models/{model}"
    version = f"{model}/versions/{{version}}"
    table: list[tuple[str, str, Handler]] = [
        ("POST", "/v1/models/{model}:predict", endpoints.predict),
        # Without it, the next GET would match, with a model called "…:predict".
        ("GET", "/v1/models/{model}:predict", endpoints.method_not_allowed),
        ("POST", "/v1/models/{model}:explain", endpoints.unimplemented),
        ("GET", "/v1/models/{model}", endpoints.model_ready),
        ("GET", "/v2", endpoints.server_metadata),
        ("GET", "/v2/health/live", endpoints.server_live),
        ("GET", "/v2/health/ready", endpoints.server_ready),
        ("GET", model, endpoints.model_metadata),
        ("GET", version, endpoints.model_metadata),
        ("GET", f"{model}/ready", endpoints.model_ready),
        ("GET", f"{version}/ready", endpoints.model_ready),
        ("POST", f"{model}/infer", endpoints.infer),
        ("POST", f"{version}/infer", endpoints.infer),
        ("POST", "/v2/repository/models/{model}/load", endpoints.unimplemented),
        ("POST", "/v2/repository/models/{model}/unload", endpoints.unimplemented),
    ]
    return [Route(path, handler, methods=[method]) for method, path, handler in table]


class _Endpoints:
    def __init__(self, served: Served) -> None:
        self._served = served
        self._service = served.service

    async def predict(self, request: Request) -> Response:
        async def receive() -> Received:
            _validate_content_type(request, JSON_MEDIA_TYPE)
            timeout_seconds = _timeout_seconds(request)
            body = await read_body(request, self._service.limits.body_bytes)
            return partial(self._service.parse_v1, body), timeout_seconds

        return await self._respond("v1", request, receive, self._service.encode_v1)

    async def infer(self, request: Request) -> Response:
        async def receive() -> Received:
            json_length = parse_json_length(request.headers.get(INFERENCE_HEADER_CONTENT_LENGTH))
            accepted = (JSON_MEDIA_TYPE,) if json_length is None else (JSON_MEDIA_TYPE, BINARY_MEDIA_TYPE)
            _validate_content_type(request, *accepted)
            timeout_seconds = _timeout_seconds(request)
            body = await read_body(request, self._service.limits.body_bytes)
            return partial(self._service.parse_v2, body, json_length), timeout_seconds

        return await self._respond("v2", request, receive, self._service.encode_v2)

    async def _respond(
        self, protocol: str, request: Request, receive: Callable[[], Awaitable[Received]], encode: Encoder
    ) -> Response:
        received: Received | Response
        try:
            self._validate_model(request)
            received = await receive()
        except Exception as error:
            received = self._error_response(protocol, error)
        context = self._context(request)
        # In flight from here, as on the fast path: a client's time to send is not the server's.
        with self._service.metrics.track_request(protocol, context) as record:
            if isinstance(received, Response):
                response = received
            else:
                try:
                    inference = self._service.infer(received[0], record, received[1])
                    del received  # while a rejection is held, its body is not
                    result = await cancel_on_disconnect(request, inference)
                    response = inference_response(*encode(*result))
                    self._service.sample(request.headers.get(REQUEST_ID_HEADER), *result)
                except Exception as error:
                    response = self._error_response(protocol, error)
            record.code = str(response.status_code)
        if context is not None:
            response.headers[REQUEST_ID_HEADER] = context.request_id
        return response

    def _error_response(self, protocol: str, error: Exception) -> Response:
        """Count an error and return its response.

        Args:
            protocol: The request's protocol, for the log.
            error: The error. Its caller keeps no reference, because the error's traceback has the caller.
        """
        if isinstance(error, ClientDisconnect):
            return Response(status_code=int(CLIENT_CLOSED_REQUEST))
        if not isinstance(error, RequestError):  # the log receives the cause, the client a general message
            logger.error("Inference request failed (protocol %s).", protocol, exc_info=error)
            error = internal_error()
        self._service.record_error(error)
        # Otherwise uvicorn would read the rest of the body, only to discard it.
        return error_response(error, close=isinstance(error, BodyTooLargeError))

    def _context(self, request: Request) -> RequestContext | None:
        recorder = self._service.metrics.recorder
        if recorder is None:
            return None
        recorded = {name: request.headers[name] for name in recorder.headers if name in request.headers}
        return RequestContext.of(recorded, request.client.host if request.client else "")

    def _validate_model(self, request: Request) -> None:
        self._service.validate_model(request.path_params["model"], request.path_params.get("version"))
        if not self._served.ready:
            raise model_not_ready(self._service.name)

    async def server_metadata(self, _: Request) -> Response:
        return json_response(orjson.dumps(self._service.server_metadata(__version__)))

    async def server_live(self, _: Request) -> Response:
        return json_response(orjson.dumps({"live": True}))

    async def server_ready(self, _: Request) -> Response:
        ready = self._served.ready
        return json_response(orjson.dumps({"ready": ready}), 200 if ready else 503)

    async def model_ready(self, request: Request) -> Response:
        return self._model_response(request, lambda: {"name": self._service.name, "ready": True})

    async def model_metadata(self, request: Request) -> Response:
        return self._model_response(request, self._service.model_metadata)

    def _model_response(self, request: Request, document: Callable[[], dict[str, object]]) -> Response:
        try:
            self._validate_model(request)
        except RequestError as error:
            return error_response(error)
        return json_response(orjson.dumps(document()))

    async def method_not_allowed(self, _: Request) -> Response:
        raise HTTPException(405, headers={"Allow": "POST"})

    async def unimplemented(self, request: Request) -> Response:
        operation = request.url.path.rpartition("/")[2].rpartition(":")[2]
        return error_response(unimplemented(operation))


async def _not_found(_: Request) -> Response:
    raise HTTPException(404)


def _validate_content_type(request: Request, *accepted: str) -> None:
    """Reject a body of another media type or a compressed one. A body without a type counts as JSON."""
    received = parse_media_type(request.headers.get("content-type"))
    if received not in accepted:
        expected = JSON_MEDIA_TYPE
        if request.url.path.endswith("/infer"):
            expected += f", or {BINARY_MEDIA_TYPE} with the header {INFERENCE_HEADER_CONTENT_LENGTH}"
        raise RequestError(
            f"Content-Type: expected {expected}, received '{received:.60}'.",
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        )
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise RequestError(
            f"Content-Encoding: expected none, received '{encoding:.60}'; send the body uncompressed.",
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        )


def _timeout_seconds(request: Request) -> float | None:
    return parse_timeout(
        request.headers.get(REQUEST_TIMEOUT_HEADER), request.headers.get(ENVOY_TIMEOUT_HEADER)
    )


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read the body, and no more than the limit.

    Raises:
        BodyTooLargeError: If the body exceeds the limit.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise BodyTooLargeError(max_bytes)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLargeError(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)

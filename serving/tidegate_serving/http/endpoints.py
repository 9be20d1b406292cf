# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""REST: the endpoints that take the place of KServe's own.

Those for predictions go through the service; those for metadata and readiness tell the truth where KServe's
are empty or always true. Everything else stays KServe's. No answer ever holds a stack trace.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate import __version__
from tidegate_serving import headers
from tidegate_serving.codecs.encode import ResultSlice
from tidegate_serving.codecs.request import InferenceRequest
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.observability.metrics import CLIENT_CLOSED_REQUEST
from tidegate_serving.predictor import Predictor

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header of the binary tensor data extension: how many bytes of a body are JSON."""

JSON = "application/json"
BINARY = "application/octet-stream"

REFUSAL_HEADERS: Mapping[ErrorCode, Mapping[str, str]] = {
    ErrorCode.RESOURCE_EXHAUSTED: {"Retry-After": "1"},
    # What is still on its way would only be read to be thrown away.
    ErrorCode.CONTENT_TOO_LARGE: {"Connection": "close"},
}

logger = logging.getLogger("tidegate.serving")

Handler = Callable[[Request], Awaitable[Response]]

Asked = tuple[Callable[[], InferenceRequest], float | None]
"""What reads a question that has come whole, and how many seconds its client will wait."""

Write = Callable[[InferenceRequest, ResultSlice], tuple[bytes, int | None]]
"""An answer's body, and how many bytes of it are JSON if binary tensors follow, else None."""


def routes(predictor: Predictor) -> list[Route]:
    """The routes to register before KServe's, so that they win."""
    endpoints = _Endpoints(predictor)
    model = "/v2/models/{model}"
    version = f"{model}/versions/{{version}}"
    table: list[tuple[str, str, Handler]] = [
        ("POST", "/v1/models/{model}:predict", endpoints.predict),
        # Else it would be taken for a question about a model called "…:predict".
        ("GET", "/v1/models/{model}:predict", endpoints.only_post),
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
    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._service = predictor.service

    async def predict(self, request: Request) -> Response:
        async def receive() -> Asked:
            _check_type(request, JSON)
            left = _seconds_left(request)
            body = await _body(request, self._service.limits.body_bytes)
            return partial(self._service.parse_v1, body), left

        return await self._answer("v1", request, receive, self._service.encode_v1)

    async def infer(self, request: Request) -> Response:
        async def receive() -> Asked:
            header_length = number(request.headers.get(HEADER_LENGTH))
            _check_type(request, JSON, *([] if header_length is None else [BINARY]))
            left = _seconds_left(request)
            body = await _body(request, self._service.limits.body_bytes)
            return partial(self._service.parse_v2, body, header_length), left

        return await self._answer("v2", request, receive, self._service.encode_v2)

    async def _answer(
        self, protocol: str, request: Request, receive: Callable[[], Awaitable[Asked]], write: Write
    ) -> Response:
        asked: Asked | Exception
        try:
            self._check(request)
            asked = await receive()
        except Exception as error:  # whatever it is, it is counted and answered below
            asked = error
        # Counted from here, as on the hot path: how long a client takes to send is not the server's doing.
        with self._service.metrics.track_request(protocol) as record:
            try:
                if isinstance(asked, Exception):
                    raise asked
                response = _written(*write(*await self._service.ask(asked[0], record, asked[1])))
            except RequestError as error:
                self._service.record_error(error)
                response = error_response(error)
            except ClientDisconnect:
                record.code = CLIENT_CLOSED_REQUEST
                return Response(status_code=int(CLIENT_CLOSED_REQUEST))
            except Exception:  # a fault of ours: the log has it, the client gets a sentence
                logger.exception("A %s request failed.", protocol)
                response = error_response(internal_error())
            record.code = str(response.status_code)
            return response

    def _check(self, request: Request) -> None:
        self._service.validate_model(request.path_params["model"], request.path_params.get("version"))
        if not self._predictor.ready:
            raise RequestError(f"The model {self._service.name} is not ready.", ErrorCode.UNAVAILABLE)

    async def server_metadata(self, _: Request) -> Response:
        return _json(orjson.dumps(self._service.server_metadata(__version__)))

    async def server_live(self, _: Request) -> Response:
        return _json(orjson.dumps({"live": True}))

    async def server_ready(self, _: Request) -> Response:
        ready = self._predictor.ready
        return _json(orjson.dumps({"ready": ready}), 200 if ready else 503)

    async def model_ready(self, request: Request) -> Response:
        return self._about_model(request, lambda: orjson.dumps({"name": self._service.name, "ready": True}))

    async def model_metadata(self, request: Request) -> Response:
        return self._about_model(request, lambda: orjson.dumps(self._service.model_metadata()))

    def _about_model(self, request: Request, content: Callable[[], bytes]) -> Response:
        try:
            self._check(request)
        except RequestError as error:
            return error_response(error)
        return _json(content())

    async def only_post(self, _: Request) -> Response:
        raise HTTPException(405, headers={"Allow": "POST"})

    async def unimplemented(self, request: Request) -> Response:
        action = request.url.path.rpartition("/")[2].rpartition(":")[2]
        return error_response(unimplemented(action))


def unimplemented(action: str) -> RequestError:
    """The refusal of what KServe has and this server does not do."""
    return RequestError(
        f"This server does not {action}: it serves one bundle, which never changes; deploy another to "
        "change the model.",
        ErrorCode.UNIMPLEMENTED,
    )


def error_response(error: RequestError) -> Response:
    """The response that says why there is no answer."""
    return _json(error_body(error), error.code.http_status, dict(REFUSAL_HEADERS.get(error.code, {})))


def error_body(error: RequestError) -> bytes:
    """The body of a refusal."""
    return orjson.dumps({"error": str(error)})


def internal_error() -> RequestError:
    """The refusal when we failed, which says nothing of how."""
    return RequestError("The server failed on this request; its log says why.", ErrorCode.INTERNAL)


async def refuse_http(request: Request, error: Exception) -> Response:
    """The framework's own refusals, an unknown path or method, in the form that all refusals have."""
    assert isinstance(error, HTTPException)
    said = f"{request.method} {request.url.path:.100}: {error.detail}."
    return _json(orjson.dumps({"error": said}), error.status_code, dict(error.headers or {}))


def _written(content: bytes, length: int | None) -> Response:
    """An answer; with binary tensors behind so many bytes of JSON, if that is not None."""
    if length is None:
        return _json(content)
    return Response(content, media_type=BINARY, headers={HEADER_LENGTH: str(length)})


def _json(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(content, status, headers, media_type=JSON)


def _check_type(request: Request, *accepted: str) -> None:
    """Refuse a body that says it is something else. One that says nothing is taken for JSON."""
    found = media_type(request.headers.get("content-type"))
    if found not in accepted:
        binary = (
            f", or {BINARY} with the header {HEADER_LENGTH}" if request.url.path.endswith("/infer") else ""
        )
        raise RequestError(
            f"Content-Type: expected {JSON}{binary}, received '{found:.60}'.",
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        )
    if (encoding := request.headers.get("content-encoding", "identity").lower()) != "identity":
        raise RequestError(
            f"Content-Encoding: expected none, received '{encoding:.60}': send the body as it is.",
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        )


def media_type(header: str | None) -> str:
    """The media type that a ``Content-Type`` names; JSON if there is no such header."""
    return JSON if header is None else header.partition(";")[0].strip().lower()


def number(text: str | None) -> int | None:
    """The value of ``Inference-Header-Content-Length``, if there is one.

    Raises:
        RequestError: It is no number.
    """
    if text is None:
        return None
    # isdecimal alone would take other scripts' digits, and int() any number of them.
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise RequestError(f"{HEADER_LENGTH}: expected a number of bytes, received '{text:.60}'.")
    return int(text)


def _seconds_left(request: Request) -> float | None:
    return headers.seconds(request.headers.get(headers.OURS), request.headers.get(headers.ENVOY))


async def _body(request: Request, limit: int) -> bytes:
    """The body, read no further than the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise body_too_large(limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise body_too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def body_too_large(limit: int) -> RequestError:
    """The refusal of a body of more bytes than the limit."""
    return RequestError(
        f"body: expected at most {limit} bytes, received more; ask in several requests.",
        ErrorCode.CONTENT_TOO_LARGE,
    )

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The client: predictions from a server through KServe's own clients, by any of the four protocols.

It reads the model's metadata, builds the request from rows, and returns the outputs row by row. It does not
validate the rows: the server does. It retries the connection only; the first response counts, even an error.
"""

import asyncio
import math
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np

from tidegate.contract import Datatype, Scalar
from tidegate.csv_file import CsvFile
from tidegate.errors import ConfigurationError, ServerError
from tidegate.protocol.connect import CONNECT_PAUSES_SECONDS, retry_connect_async
from tidegate.protocol.constants import Protocol
from tidegate.text_values import TextValueError, parse_values
from tidegate_serving._kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    InferResponse,
    RESTConfig,
    pb,
)
from tidegate_serving.codecs.validation import DATATYPES

Row = Sequence[Scalar] | Mapping[str, Scalar]
"""A row's values in the order of the features, or by feature name."""

_TIMEOUT_SECONDS = 60.0
_TLS = "https://"
_INVALID_REQUEST_CODES = frozenset(
    {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"}
)
"""The gRPC status codes after which the same request would fail again."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The outputs of a response: by output name, a value or a list of values for each row."""

    model_version: str | None
    outputs: dict[str, list[Any]]


def predict(address: str, model: str, protocol: Protocol, rows: Sequence[Row] | CsvFile) -> Prediction:
    """Send an inference request to a server.

    Args:
        address: ``http://host:port``, or ``host:port`` for gRPC; for TLS ``https://host:port`` in both. The
            variable ``SSL_CERT_FILE`` names the certificates to trust instead of the system's.
        model: The model's name.
        protocol: The protocol of the request.
        rows: The rows, all as lists or all by feature name; or a CSV file, whose texts are values of the
            types in the model's metadata.

    Raises:
        ConfigurationError: If a text is not of its feature's type, or the server rejects the request as
            invalid; then the message is the server's.
        ServerError: If the server cannot be reached, or fails.
    """
    try:
        match protocol:
            case Protocol.V1:
                return asyncio.run(_predict_v1(address, model, rows))
            case Protocol.GRPC:
                return asyncio.run(_predict_grpc(address, model, rows))
        return asyncio.run(_predict_v2(address, model, rows, binary=protocol is Protocol.V2_BINARY))
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        message = f"{address} returned {status}: {_error_message(error.response)}"
        raise _failure(message, invalid=400 <= status < 500 and status != 429) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerError(
            f"{address} cannot be reached: {str(error).rstrip('.') or type(error).__name__}."
        ) from None
    except grpc.RpcError as error:
        code = error.code().name
        message = f"{address} returned {code}: {error.details()}"
        raise _failure(message, invalid=code in _INVALID_REQUEST_CODES) from None


def _failure(message: str, *, invalid: bool) -> ConfigurationError | ServerError:
    return ConfigurationError(message) if invalid else ServerError(message)


def _error_message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or "no message"


async def _predict_v1(address: str, model: str, rows: Sequence[Row] | CsvFile) -> Prediction:
    metadata = await _model_metadata(address, model)
    instances = _parse_rows(rows, metadata["inputs"])
    async with InferenceRESTClient(RESTConfig(protocol="v1", timeout=_TIMEOUT_SECONDS)) as client:
        response = await _connect(lambda: client.infer(address, {"instances": instances}, model_name=model))
    return Prediction(metadata["versions"][0], {metadata["outputs"][0]["name"]: response["predictions"]})


async def _predict_v2(address: str, model: str, rows: Sequence[Row] | CsvFile, *, binary: bool) -> Prediction:
    metadata = await _model_metadata(address, model)
    inputs = metadata["inputs"]
    request = InferRequest(model, _input_tensors(inputs, _parse_rows(rows, inputs), binary=binary))
    if binary:
        request.parameters = {"binary_data_output": True}
    async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=_TIMEOUT_SECONDS)) as client:
        response = await _connect(lambda: client.infer(address, request, model_name=model))
    return _prediction(response, metadata["versions"])


async def _model_metadata(address: str, model: str) -> Any:
    _read_authorities()  # httpx reads them, too, also for a connection without TLS
    async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as client:
        response = await _connect(lambda: client.get(f"{address.rstrip('/')}/v2/models/{model}"))
    return response.raise_for_status().json()


async def _connect(call: Callable[[], Awaitable[Any]]) -> Any:
    """Await a call, and repeat it only while no connection has carried it."""
    return await retry_connect_async(
        call, lambda error: isinstance(error, httpx.ConnectError), pauses=CONNECT_PAUSES_SECONDS
    )


async def _predict_grpc(address: str, model: str, rows: Sequence[Row] | CsvFile) -> Prediction:
    host, credentials = address.removeprefix(_TLS), _channel_credentials(address)
    async with _open_channel(host, credentials) as channel:
        # A call fails at the channel's first failure to connect. After the timeout, the call itself fails and
        # its error has the reason.
        with suppress(TimeoutError):
            await asyncio.wait_for(channel.channel_ready(), sum(CONNECT_PAUSES_SECONDS))
        read_metadata = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelMetadata",
            request_serializer=pb.ModelMetadataRequest.SerializeToString,
            response_deserializer=pb.ModelMetadataResponse.FromString,
        )
        metadata = await read_metadata(pb.ModelMetadataRequest(name=model), timeout=_TIMEOUT_SECONDS)
    inputs = [{"name": i.name, "datatype": i.datatype, "shape": list(i.shape)} for i in metadata.inputs]
    request = InferRequest(model, _input_tensors(inputs, _parse_rows(rows, inputs), binary=True))
    async with InferenceGRPCClient(host, timeout=_TIMEOUT_SECONDS, creds=credentials) as client:
        return _prediction(await client.infer(request), list(metadata.versions))


def _open_channel(host: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(host)
    return grpc.aio.secure_channel(host, credentials)


def _channel_credentials(address: str) -> grpc.ChannelCredentials | None:
    """Return the credentials of a channel with TLS, which trust the certificates that REST trusts."""
    if not address.startswith(_TLS):
        return None
    return grpc.ssl_channel_credentials(_read_authorities())


def _read_authorities() -> bytes | None:
    """Read the certificates that the user trusts; None for those of the system.

    Raises:
        ConfigurationError: If the file of ``SSL_CERT_FILE`` has none.
    """
    file = os.environ.get("SSL_CERT_FILE")
    if not file:
        return None
    try:
        ssl.create_default_context(cafile=file)
        return Path(file).read_bytes()
    except OSError as error:  # SSLError is one
        raise ConfigurationError(
            f"SSL_CERT_FILE: expected a file with certificates in PEM, received {file} ({error}): correct or "
            "unset the variable."
        ) from None


def _parse_rows(rows: Sequence[Row] | CsvFile, metadata: Sequence[Mapping[str, Any]]) -> Sequence[Row]:
    """Return rows by feature name, with a CSV file's texts as values of the model's types."""
    if not isinstance(rows, CsvFile):
        return rows
    datatypes = {entry["name"]: entry["datatype"] for entry in metadata}
    matrix = _matrix(metadata)
    columns = []
    for name, texts in zip(rows.names, rows.columns, strict=True):
        # The server rejects a name that the metadata does not have.
        datatype = Datatype(matrix["datatype"] if matrix else datatypes.get(name, Datatype.BYTES))
        try:
            columns.append(parse_values(texts, datatype))
        except TextValueError as error:
            raise ConfigurationError(
                f"Row {error.index + 1} has the text {texts[error.index]!r} in the column '{name}', which is "
                f"no {datatype}: correct the value."
            ) from None
        except OverflowError as error:
            raise ConfigurationError(f"The column '{name}' is no {datatype}: {error}.") from None
    return [dict(zip(rows.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _matrix(metadata: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the one tensor that holds all features, if the model has it."""
    return metadata[0] if len(metadata) == 1 and len(metadata[0]["shape"]) == 2 else None


def _input_tensors(metadata: Sequence[Mapping[str, Any]], rows: Sequence[Row], *, binary: bool) -> list[Any]:
    """Build the input tensors: those of the model's metadata, or one per name for rows by feature name."""
    datatypes = {entry["name"]: entry["datatype"] for entry in metadata}
    matrix = _matrix(metadata)
    if rows and isinstance(rows[0], Mapping):
        names = list(dict.fromkeys(name for row in rows if isinstance(row, Mapping) for name in row))
        columns = {name: [row.get(name) for row in rows if isinstance(row, Mapping)] for name in names}
        default = matrix["datatype"] if matrix else None
        return [
            _tensor(
                name, datatypes.get(name, default) or _guess_datatype(column), [len(column)], column, binary
            )
            for name, column in columns.items()
        ]
    lists = [list(row) for row in rows]
    if len({len(row) for row in lists}) > 1:
        raise ConfigurationError(
            "The rows have different numbers of values: V2 tensors need rows of one length."
        )
    width = len(lists[0]) if lists else 0
    if matrix is not None:
        flat = [value for row in lists for value in row]
        return [_tensor(matrix["name"], matrix["datatype"], [len(lists), width], flat, binary)]
    if width != len(metadata):
        raise ConfigurationError(
            f"Each row has {width} values, but the model takes {len(metadata)} features."
        )
    return [
        _tensor(entry["name"], entry["datatype"], [len(lists)], [row[i] for row in lists], binary)
        for i, entry in enumerate(metadata)
    ]


def _guess_datatype(values: Sequence[Scalar]) -> str:
    """Guess the data type of a column that is not in the metadata: the server rejects it by its name."""
    return "BYTES" if any(isinstance(value, str) for value in values) else "FP64"


def _tensor(name: str, datatype: str, shape: list[int], values: Sequence[Scalar], binary: bool) -> Any:
    if not binary:
        return InferInput(name, shape, datatype, list(values))
    tensor = InferInput(name, shape, datatype)
    missing: Scalar = "" if datatype == Datatype.BYTES else math.nan
    filled = [missing if value is None else value for value in values]
    try:
        array = np.array(filled, dtype=DATATYPES[datatype]).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"The values of '{name}' are not a {datatype} tensor: {error}.") from None
    tensor.set_data_from_numpy(array, binary_data=True)
    return tensor


def _prediction(response: InferResponse, versions: Sequence[str]) -> Prediction:
    outputs: dict[str, list[Any]] = {}
    for output in response.outputs:
        values = output.as_numpy().tolist()
        outputs[output.name] = [_text(value) for value in values] if output.datatype == "BYTES" else values
    return Prediction(response.model_version or next(iter(versions), None), outputs)


def _text(value: Any) -> Any:
    """Decode a text, or each text of a row of several."""
    if isinstance(value, list):
        return [_text(text) for text in value]
    return value.decode() if isinstance(value, bytes) else value

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The client: asks a server through KServe's own clients, by any of the four protocols.

It asks the server what the model takes, makes the request from rows, and gives the answers row by row. It
checks nothing of the rows: what is wrong with them is the server's to say. It tries for some seconds to find
a connection, and takes the first answer for what it is.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import numpy as np

from tidegate.contract import Datatype, Scalar
from tidegate.errors import ConfigurationError, ServerError
from tidegate.protocol.constants import Protocol
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
"""A row's values in the order of the features, or by their names."""

_PATIENCE_SECONDS = 60.0
_CONNECT_PAUSES = (0.5, 1.0, 2.0)
"""The seconds between tries to connect: a pod that has just started may not find a name or a way yet."""
_CLIENT_CODES = frozenset(
    {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"}
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """A server's answer: by output name, a value or a list of values for each row."""

    model_version: str | None
    outputs: dict[str, list[Any]]


def predict(address: str, model: str, protocol: Protocol, rows: Sequence[Row]) -> Prediction:
    """Ask a server.

    Args:
        address: ``http://host:port``, or ``host:port`` for gRPC.
        model: The model's name.
        protocol: How to ask.
        rows: The rows, all lists or all by name.

    Raises:
        ConfigurationError: The server refuses the request; the sentence is its own.
        ServerError: The server cannot be reached, or failed.
    """
    ask = {Protocol.V1: _v1, Protocol.GRPC: _grpc}.get(protocol)
    try:
        if ask is not None:
            return asyncio.run(ask(address, model, rows))
        return asyncio.run(_v2(address, model, rows, protocol is Protocol.V2_BINARY))
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        sentence = _sentence(error.response)
        raise _failure(
            400 <= status < 500 and status != 429, f"{address} answered {status}: {sentence}"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerError(f"{address} cannot be reached: {error or type(error).__name__}.") from None
    except grpc.RpcError as error:
        code = error.code().name
        raise _failure(code in _CLIENT_CODES, f"{address} answered {code}: {error.details()}") from None


def _failure(of_the_request: bool, sentence: str) -> ConfigurationError | ServerError:
    return ConfigurationError(sentence) if of_the_request else ServerError(sentence)


def _sentence(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or "nothing more"


async def _v1(address: str, model: str, rows: Sequence[Row]) -> Prediction:
    async with InferenceRESTClient(RESTConfig(protocol="v1", timeout=_PATIENCE_SECONDS)) as client:
        answer = await _connected(lambda: client.infer(address, {"instances": rows}, model_name=model))
    metadata = await _metadata(address, model)
    return Prediction(metadata["versions"][0], {metadata["outputs"][0]["name"]: answer["predictions"]})


async def _v2(address: str, model: str, rows: Sequence[Row], binary: bool) -> Prediction:
    metadata = await _metadata(address, model)
    request = InferRequest(model, _inputs(metadata["inputs"], rows, binary))
    if binary:
        request.parameters = {"binary_data_output": True}
    async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=_PATIENCE_SECONDS)) as client:
        answer = await _connected(lambda: client.infer(address, request, model_name=model))
    return _prediction(answer, metadata)


async def _metadata(address: str, model: str) -> Any:
    async with httpx.AsyncClient(timeout=_PATIENCE_SECONDS) as client:
        answer = await _connected(lambda: client.get(f"{address.rstrip('/')}/v2/models/{model}"))
    return answer.raise_for_status().json()


async def _connected(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The answer to a question, which is asked again only as long as no connection has carried it."""
    for pause in _CONNECT_PAUSES:
        try:
            return await ask()
        except httpx.ConnectError:
            await asyncio.sleep(pause)
    return await ask()


async def _grpc(address: str, model: str, rows: Sequence[Row]) -> Prediction:
    async with grpc.aio.insecure_channel(address) as channel:
        # A call fails with the first failure to connect; after this time it does, and says why.
        with suppress(TimeoutError):
            await asyncio.wait_for(channel.channel_ready(), sum(_CONNECT_PAUSES))
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelMetadata",
            request_serializer=pb.ModelMetadataRequest.SerializeToString,
            response_deserializer=pb.ModelMetadataResponse.FromString,
        )
        answer = await call(pb.ModelMetadataRequest(name=model), timeout=_PATIENCE_SECONDS)
    inputs = [{"name": i.name, "datatype": i.datatype, "shape": list(i.shape)} for i in answer.inputs]
    async with InferenceGRPCClient(address, timeout=_PATIENCE_SECONDS) as client:
        request = InferRequest(model, _inputs(inputs, rows, True))
        return _prediction(await client.infer(request), {"versions": list(answer.versions)})


def _inputs(metadata: Sequence[Mapping[str, Any]], rows: Sequence[Row], binary: bool) -> list[Any]:
    """The rows as the tensors that the server's metadata names, or, rows by name, as a tensor a name."""
    datatypes = {entry["name"]: entry["datatype"] for entry in metadata}
    matrix = metadata[0] if len(metadata) == 1 and len(metadata[0]["shape"]) == 2 else None
    if rows and isinstance(rows[0], Mapping):
        names = list(dict.fromkeys(name for row in rows if isinstance(row, Mapping) for name in row))
        columns = {name: [row.get(name) for row in rows if isinstance(row, Mapping)] for name in names}
        shared = matrix["datatype"] if matrix else None
        return [
            _tensor(name, datatypes.get(name, shared) or _guess(column), [len(column)], column, binary)
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
            f"Each row has {width} values, and the model takes {len(metadata)} features."
        )
    return [
        _tensor(entry["name"], entry["datatype"], [len(lists)], [row[i] for row in lists], binary)
        for i, entry in enumerate(metadata)
    ]


def _guess(values: Sequence[Scalar]) -> str:
    """A type for a column that the metadata does not know; the server will say what it thinks of it."""
    return "BYTES" if any(isinstance(value, str) for value in values) else "FP64"


def _tensor(name: str, datatype: str, shape: list[int], values: Sequence[Scalar], binary: bool) -> Any:
    if not binary:
        return InferInput(name, shape, datatype, list(values))
    tensor = InferInput(name, shape, datatype)
    empty: Scalar = "" if datatype == Datatype.BYTES else math.nan
    filled = [empty if value is None else value for value in values]
    try:
        array = np.array(filled, dtype=DATATYPES[datatype]).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"The values of '{name}' are no {datatype} tensor: {error}.") from None
    tensor.set_data_from_numpy(array, binary_data=True)
    return tensor


def _prediction(response: InferResponse, metadata: Mapping[str, Any]) -> Prediction:
    outputs: dict[str, list[Any]] = {}
    for output in response.outputs:
        values = output.as_numpy().tolist()
        outputs[output.name] = [_text(value) for value in values] if output.datatype == "BYTES" else values
    versions = metadata.get("versions") or [None]
    return Prediction(response.model_version or versions[0], outputs)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value

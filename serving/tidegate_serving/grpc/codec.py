# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""gRPC's codec: from a ``ModelInferRequest`` to an inference request, and from its outputs to a response.

Tensors are validated by the functions that the V2 protocol over REST uses, so that both reject the same
requests with the same messages. KServe's message classes are used.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from tidegate.batch import Array
from tidegate.contract import Contract, Datatype, Output
from tidegate.protocol.requests import encode_raw_tensor
from tidegate_serving._kserve import pb
from tidegate_serving.codecs.request import InferenceRequest, Limits, select_outputs
from tidegate_serving.codecs.tensors import (
    Tensor,
    assemble_inputs,
    check_element_count,
    check_tensor_count,
    decode_text,
    parse_datatype,
    parse_raw_tensor,
    parse_shape,
)
from tidegate_serving.codecs.validation import DATATYPES, Place
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.errors import RequestError
from tidegate_serving.request_context import new_request_id

CONTENTS_FIELDS = {
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
"""The field of ``InferTensorContents`` by data type; FP16 has none and needs raw contents.

From the Open Inference Protocol, open_inference_grpc.proto, ``InferTensorContents``.
"""

_LENGTH_DELIMITED = 2
_ID_TAG = bytes([pb.ModelInferResponse.ID_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])
_RAW_OUTPUT_TAG = bytes([pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])
"""The tags of the fields that differ between two responses with the same outputs and rows."""

_MAX_HEADS = 64
"""Numbers of rows whose beginnings of responses are kept."""


def parse_message(message_class: Any, content: bytes) -> Any:
    """Parse a protobuf message.

    Raises:
        RequestError: If the bytes are not such a message.
    """
    try:
        return message_class.FromString(content)
    except DecodeError:
        raise RequestError(
            f"message: expected a {message_class.DESCRIPTOR.name}, received {len(content)} bytes that "
            "cannot be parsed."
        ) from None


def parse_infer_request(contract: Contract, message: Any, limits: Limits) -> InferenceRequest:
    """Parse a ``ModelInferRequest``.

    Args:
        contract: The model's contract.
        message: The message.
        limits: The largest request.

    Raises:
        RequestError: If the contract does not allow the request.
    """
    outputs = contract.outputs
    if message.outputs:
        outputs = select_outputs(contract, (output.name for output in message.outputs))
    check_tensor_count(contract, len(message.inputs))
    inputs = assemble_inputs(contract, parse_tensors(message), limits)
    return InferenceRequest(inputs, message.id or new_request_id(), outputs)


def parse_tensors(message: Any) -> list[Tensor]:
    """Parse the inputs of a ``ModelInferRequest``, from raw or typed contents.

    Raises:
        RequestError: If an input is not what the protocol allows.
    """
    raw_contents = message.raw_input_contents
    if raw_contents and len(raw_contents) != len(message.inputs):
        raise RequestError(
            f"raw_input_contents: expected one for each of the {len(message.inputs)} inputs, received "
            f"{len(raw_contents)}."
        )
    tensors = []
    for index, entry in enumerate(message.inputs):
        where = f"inputs[{index}]"
        shape, datatype = parse_shape(where, list(entry.shape)), parse_datatype(where, entry.datatype)
        if raw_contents:
            if entry.HasField("contents"):
                raise RequestError(
                    f"{where}.contents: expected none together with raw_input_contents, received some."
                )
            elements = parse_raw_tensor(where, datatype, shape, raw_contents[index])
            place = _element_place(f"{where} element ", "")
        else:
            elements = _parse_typed_contents(where, datatype, shape, entry.contents)
            place = _element_place(f"{where}.contents.{CONTENTS_FIELDS[datatype]}[", "]")
        tensors.append(Tensor(where, entry.name, datatype, shape, elements, place))
    return tensors


def _element_place(before: str, after: str) -> Place:
    return lambda index: f"{before}{index}{after}"


def _parse_typed_contents(where: str, datatype: str, shape: tuple[int, ...], contents: Any) -> Array:
    """Return the elements of typed contents, shape `[elements]`.

    Args:
        where: The tensor's place in the message.
        datatype: The data type that the client declares.
        shape: The shape that the client declares.
        contents: An ``InferTensorContents``.
    """
    if datatype not in CONTENTS_FIELDS:
        raise RequestError(
            f"{where}.datatype: expected {datatype} in raw_input_contents, received it as contents."
        )
    field = CONTENTS_FIELDS[datatype]
    for other, values in contents.ListFields():
        if other.name != field:
            raise RequestError(
                f"{where}.contents: expected {datatype} elements in {field}, received {len(values)} in "
                f"{other.name}."
            )
    values = getattr(contents, field)
    check_element_count(where, shape, len(values))
    if datatype == "BYTES":
        return np.array([decode_text(value, where, i) for i, value in enumerate(values)], dtype=object)
    dtype = DATATYPES[datatype]
    if dtype.kind in "iu" and dtype.itemsize < 4 and len(values):
        limits = np.iinfo(dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise RequestError(
                f"{where}.contents.{field}: expected {datatype} elements from {limits.min} to {limits.max}, "
                f"received from {min(values)} to {max(values)}."
            )
    return np.array(values, dtype=dtype)


class ResponseEncoder:
    """The encoder of one model's responses.

    Args:
        name: The model's name in requests.
        version: The model's version.
        outputs: All outputs of the model.
    """

    def __init__(self, name: str, version: str, outputs: tuple[Output, ...]) -> None:
        self._name = name
        self._version = version
        self._outputs = outputs
        self._heads: dict[int, bytes] = {}
        """By number of rows, a serialized response with all outputs, without the id and the contents."""

    def encode(self, request: InferenceRequest, result: ResultSlice, *, as_raw: bool) -> bytes:
        """Encode a serialized ``ModelInferResponse``.

        Args:
            request: The request, which selects the outputs.
            result: The outputs of its rows.
            as_raw: Whether tensors are raw, as they are in the request, or typed.
        """
        outputs, rows = request.outputs, result.stop - result.start
        if not as_raw:
            message = self._message(outputs, rows)
            message.id = request.id
            for tensor, output in zip(message.outputs, outputs, strict=True):
                elements = _typed_elements(output, result.array(output.name))
                getattr(tensor.contents, CONTENTS_FIELDS[output.datatype]).extend(elements)
            return bytes(message.SerializeToString())
        # From the encoding of Protocol Buffers: a message is the concatenation of its fields in any order.
        fields = [self._head(outputs, rows), _encode_field(_ID_TAG, request.id.encode())]
        for output in outputs:
            fields.append(_encode_field(_RAW_OUTPUT_TAG, encode_raw_tensor(result.array(output.name))))
        return b"".join(fields)

    def _head(self, outputs: tuple[Output, ...], rows: int) -> bytes:
        if outputs is not self._outputs:
            return bytes(self._message(outputs, rows).SerializeToString())
        head = self._heads.get(rows)
        if head is None:
            head = bytes(self._message(outputs, rows).SerializeToString())
            if len(self._heads) < _MAX_HEADS:
                self._heads[rows] = head
        return head

    def _message(self, outputs: tuple[Output, ...], rows: int) -> Any:
        message = pb.ModelInferResponse(model_name=self._name, model_version=self._version)
        for output in outputs:
            shape = [rows] if output.width is None else [rows, output.width]
            message.outputs.add(name=output.name, datatype=str(output.datatype), shape=shape)
        return message


def _encode_field(tag: bytes, content: bytes) -> bytes:
    """Encode a field of text or bytes: its tag, its length as a varint, and its content."""
    length = len(content)
    if length < 0x80:
        return tag + bytes((length,)) + content
    varint = bytearray()
    while length >= 0x80:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    return tag + bytes(varint) + content


def _typed_elements(output: Output, array: Array) -> Sequence[Any]:
    """Return the elements of an output, shape `[rows]` or `[rows, width]`, in row-major order."""
    if output.datatype is Datatype.BYTES:
        return [str(value).encode() for value in array.reshape(-1)]
    return array.reshape(-1).tolist()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The gRPC messages of inference, for clients without KServe's SDK: their classes, requests and outputs.

The classes come from a table of fields and a descriptor pool of their own, so a process may import KServe's
generated classes as well. It needs the package ``protobuf``. From the Open Inference Protocol,
``open_inference_grpc.proto``.
"""

import math
from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract, Datatype, Scalar
from tidegate.protocol.requests import encode_raw_tensor
from tidegate.protocol.responses import decode_raw_tensor

SERVICE = "inference.GRPCInferenceService"
"""The full name of the gRPC service."""

_PACKAGE = "inference"
_FIELDS = {
    "InferParameter": "oneof bool bool_param, oneof int64 int64_param, oneof string string_param",
    "InferTensorContents": (
        "repeated bool bool_contents, repeated int32 int_contents, repeated int64 int64_contents, "
        "repeated uint32 uint_contents, repeated uint64 uint64_contents, repeated float fp32_contents, "
        "repeated double fp64_contents, repeated bytes bytes_contents"
    ),
    "ModelReadyRequest": "string name, string version",
    "ModelReadyResponse": "bool ready",
    "ModelInferRequest": (
        "string model_name, string model_version, string id, map parameters, "
        "repeated InferInputTensor inputs, repeated InferRequestedOutputTensor outputs, "
        "repeated bytes raw_input_contents"
    ),
    "ModelInferRequest.InferInputTensor": (
        "string name, string datatype, repeated int64 shape, map parameters, InferTensorContents contents"
    ),
    "ModelInferRequest.InferRequestedOutputTensor": "string name, map parameters",
    "ModelInferResponse": (
        "string model_name, string model_version, string id, map parameters, "
        "repeated InferOutputTensor outputs, repeated bytes raw_output_contents"
    ),
    "ModelInferResponse.InferOutputTensor": (
        "string name, string datatype, repeated int64 shape, map parameters, InferTensorContents contents"
    ),
}
"""The fields of each message in the order of their numbers, which begin at 1 and have no gap."""

_CONTENTS_FIELDS = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}


def _describe_file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="open_inference_grpc.proto", package=_PACKAGE, syntax="proto3"
    )
    for path, fields in _FIELDS.items():
        outer, _, nested = path.partition(".")
        if nested:
            parent = next(message for message in file.message_type if message.name == outer)
            message = parent.nested_type.add(name=nested)
        else:
            message = file.message_type.add(name=outer)
        for number, field in enumerate(fields.split(", "), start=1):
            _add_field(message, path, number, field.split(" "))
    return file


def _add_field(message: Any, path: str, number: int, words: Sequence[str]) -> None:
    *modifiers, kind, name = words
    field = message.field.add(name=name, number=number)
    repeated = kind == "map" or "repeated" in modifiers
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    if kind == "map":  # a map is a repeated entry of a key and a value
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add_field(entry, "", 1, ("string", "key"))
        _add_field(entry, "", 2, ("InferParameter", "value"))
        kind = f"{path}.{entry.name}"
    elif f"{path}.{kind}" in _FIELDS:
        kind = f"{path}.{kind}"
    if kind[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = field.Type.Value(f"TYPE_{kind.upper()}")
    if "oneof" in modifiers:
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0


_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(_describe_file().SerializeToString())


def _message_class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


ModelReadyRequest = _message_class("ModelReadyRequest")
ModelReadyResponse = _message_class("ModelReadyResponse")
ModelInferRequest = _message_class("ModelInferRequest")
ModelInferResponse = _message_class("ModelInferResponse")


def encode_infer_request(contract: Contract, rows: Sequence[Sequence[Scalar]]) -> bytes:
    """Encode a ``ModelInferRequest`` with raw contents: one matrix, or one tensor per feature."""
    datatypes = {feature.name: feature.datatype for feature in contract.features}
    if contract.matrix_datatype is not None:
        datatypes = {MATRIX: contract.matrix_datatype}
    message = ModelInferRequest(model_name=contract.name)
    for name, array in Batch.from_rows(contract, rows).arrays.items():
        message.inputs.add(name=name, datatype=datatypes[name].value, shape=array.shape)
        message.raw_input_contents.append(encode_raw_tensor(array))
    content: bytes = message.SerializeToString()
    return content


def parse_infer_response(content: bytes) -> dict[str, list[Any]]:
    """Parse the outputs of a ``ModelInferResponse``, with raw or typed contents.

    Returns:
        By output name, the values in row-major order without nesting.

    Raises:
        ValueError: If the bytes are not such a message, or its tensors contradict their shapes.
    """
    try:
        message = ModelInferResponse.FromString(content)
    except DecodeError:
        raise ValueError(
            f"the message: expected a ModelInferResponse, received {len(content)} bytes"
        ) from None
    raw = message.raw_output_contents
    if raw and len(raw) != len(message.outputs):
        raise ValueError(
            f"raw_output_contents: expected one for each of {len(message.outputs)} outputs, "
            f"received {len(raw)}"
        )
    outputs: dict[str, list[Any]] = {}
    for index, entry in enumerate(message.outputs):
        place = f"outputs[{index}]"
        try:
            values = decode_raw_tensor(raw[index], entry.datatype) if raw else _typed_values(entry)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        expected = math.prod(entry.shape)
        if len(values) != expected:
            raise ValueError(f"{place}: expected {expected} values by its shape, received {len(values)}")
        outputs[entry.name] = values
    return outputs


def _typed_values(entry: Any) -> list[Any]:
    if entry.datatype not in _CONTENTS_FIELDS:
        raise ValueError(f"expected one of {', '.join(Datatype)}, received {entry.datatype!r}")
    values = list(getattr(entry.contents, _CONTENTS_FIELDS[Datatype(entry.datatype)]))
    if entry.datatype == Datatype.BYTES:
        return [value.decode() for value in values]  # UnicodeDecodeError is a ValueError
    return values

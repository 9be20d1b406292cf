# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Models from ``.onnx`` files: which inputs are features, and what the outputs are.

A file may refer to other files, or to operators of a library that no server has. Both are rejected.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.contract import Datatype
from tidegate.errors import ConfigurationError
from tidegate_training.bundling.compile import NotCompiledError
from tidegate_training.bundling.onnx_model import OnnxClassifier, OnnxGraph, OnnxRegressor, variable_inputs

MAX_BYTES = 1 << 30
"""Largest size of a file."""

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""The operator sets of the ONNX standard, which every ONNX Runtime has."""

_DATATYPES = {
    1: Datatype.FP32,
    6: Datatype.INT32,
    7: Datatype.INT64,
    8: Datatype.BYTES,
    9: Datatype.BOOL,
    11: Datatype.FP64,
}
"""Types by their number in ``onnx.TensorProto.DataType``."""

_SAME_LABELS = frozenset({"Identity", "Cast", "Reshape", "Squeeze"})
"""Operators after which a label is the same."""


def read_onnx(file: Path) -> Any:
    """Read a graph as an estimator with scikit-learn's interface.

    Raises:
        ConfigurationError: If the file is damaged, too large, refers to other files or operators, or has
            inputs or outputs that no contract describes.
    """
    import onnx

    if (size := file.stat().st_size) > MAX_BYTES:
        raise _rejection(file, f"it has {size:,} bytes, expected at most {MAX_BYTES:,}")
    content = file.read_bytes()
    try:
        model = onnx.load_from_string(content)
        _require_standard(file, model)
        onnx.checker.check_model(model, full_check=True)
    except ConfigurationError:
        raise
    except Exception as error:  # protobuf's and onnx's exceptions share no base class
        reason = " ".join(str(error).split())[:200]
        raise ConfigurationError(
            f"{file} cannot be read as an ONNX model ({reason}): export it again."
        ) from None
    graph = _describe(file, content, model.graph)
    try:
        return OnnxRegressor(graph) if graph.classes is None else OnnxClassifier(graph)
    except NotCompiledError as error:
        raise _rejection(file, str(error)) from None


def _rejection(file: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{file} cannot be bundled: {reason}.")


def _require_standard(file: Path, model: Any) -> None:
    domains = {item.domain for item in model.opset_import} | {node.domain for node in _nodes(model.graph)}
    if foreign := sorted(domains - DOMAINS):
        raise _rejection(
            file, f"it has operators of {', '.join(foreign)}, expected the standard ones of ONNX alone"
        )
    if model.functions:
        raise _rejection(file, "it has functions of its own: export it with its functions inlined")
    if any(tensor.data_location == 1 or tensor.external_data for tensor in _tensors(model.graph)):
        raise _rejection(file, "its weights are in other files: save it as one file")


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of the graphs in its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield the constants of a graph and of the graphs in its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _describe(file: Path, content: bytes, graph: Any) -> OnnxGraph:
    inputs = variable_inputs(graph)
    types, widths = {}, []
    for value in inputs:
        datatype, shape = _DATATYPES.get(value.type.tensor_type.elem_type), _shape(value)
        if datatype is None or len(shape) != 2 or shape[0] is not None or shape[1] is None:
            raise _rejection(
                file,
                f"the input '{value.name}' has the shape {_text(shape)}, expected [rows, features] of "
                "numbers, or [rows, 1] of one feature; the number of rows has to be free",
            )
        types[value.name] = datatype
        widths.append(shape[1])
    if not inputs or (len(inputs) > 1 and widths != [1] * len(inputs)):
        raise _rejection(
            file, f"it has {len(inputs)} inputs, expected one matrix, or one input [rows, 1] per feature"
        )
    labels = [output for output in graph.output if output.type.tensor_type.elem_type in (7, 8)]
    values = [output for output in graph.output if output not in labels]
    if len(values) != 1 or len(labels) > 1:
        names = ", ".join(output.name for output in graph.output)
        raise _rejection(
            file,
            f"it has the outputs {names}, expected a label and probabilities, or one output of numbers",
        )
    return OnnxGraph(content, types, sum(widths), **_describe_outputs(file, graph, values[0], labels))


def _describe_outputs(file: Path, graph: Any, values: Any, labels: list[Any]) -> dict[str, Any]:
    """Return the fields of :class:`OnnxGraph` that are about outputs."""
    producer = next((node for node in graph.node if values.name in node.output), None)
    kind = "" if producer is None else producer.op_type
    classes = _label_classes(graph, labels[0]) if labels else ()
    if kind == "ZipMap" and producer is not None and labels:
        if not classes or classes != _attribute_classes(producer):
            raise _unknown_classes(file, labels[0])
        return {"values": values.name, "width": len(classes), "label": labels[0].name, "classes": classes}
    shape = _shape(values)
    width = 1 if len(shape) == 1 else shape[1] if len(shape) == 2 else None
    if values.type.tensor_type.elem_type not in (1, 11) or width is None:
        raise _rejection(
            file, f"the output '{values.name}' has the shape {_text(shape)}, expected numbers [rows, width]"
        )
    if not labels and kind not in ("Softmax", "Sigmoid"):
        return {"values": values.name, "width": width}
    if not labels:
        if kind == "Sigmoid" and width > 1:
            raise _rejection(file, "it ends in a sigmoid of each class: several labels per row")
        return {"values": values.name, "width": width, "classes": tuple(range(max(width, 2)))}
    if len(classes) != max(width, 2):
        raise _unknown_classes(file, labels[0])
    return {"values": values.name, "width": width, "label": labels[0].name, "classes": classes}


def _unknown_classes(file: Path, label: Any) -> ConfigurationError:
    return _rejection(
        file,
        f"the classes of its probabilities cannot be read from the label '{label.name}', expected the label "
        "of a classifier or one chosen from a constant: export it with no node that maps labels to others",
    )


def _attribute_classes(node: Any) -> tuple[int | str, ...]:
    """Return the classes among a node's attributes; none if it has no such attribute."""
    for attribute in node.attribute:
        if attribute.name.startswith("classlabels") and (attribute.ints or attribute.strings):
            return tuple(attribute.ints) or tuple(text.decode() for text in attribute.strings)
    return ()


def _label_classes(graph: Any, label: Any) -> tuple[int | str, ...]:
    """Return the classes of the node that computes an output of labels; none if it has none.

    Other nodes are left out: their classes may be mapped to others on the way to the output.
    """
    from onnx import numpy_helper

    producers = {output: node for node in graph.node for output in node.output}
    node = producers.get(label.name)
    while node is not None and node.op_type in _SAME_LABELS:
        node = producers.get(node.input[0])
    if node is None:
        return ()
    classes = _attribute_classes(node)
    constants = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type in (6, 7, 8)}
    if node.op_type in ("Gather", "ArrayFeatureExtractor") and node.input[0] in constants:
        values = numpy_helper.to_array(constants[node.input[0]]).ravel().tolist()
        classes = tuple(value.decode() if isinstance(value, bytes) else value for value in values)
    is_text = label.type.tensor_type.elem_type == 8
    return classes if all(isinstance(name, str) == is_text for name in classes) else ()


def _shape(value: Any) -> list[int | None]:
    dimensions = value.type.tensor_type.shape.dim
    return [item.dim_value if item.HasField("dim_value") else None for item in dimensions]


def _text(shape: list[int | None]) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"

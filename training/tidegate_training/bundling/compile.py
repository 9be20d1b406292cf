# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles a fitted pipeline to an ONNX graph with the contract's names and types.

Whether the graph computes the same outputs is shown by :mod:`tidegate_training.bundling.parity`.
"""

import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

from tidegate.contract import MATRIX, Datatype, Output
from tidegate.outputs import ITEMS, PROBABILITIES, SCORES, STANDARD_DEVIATION
from tidegate_training.bundling.boosters import booster_converters
from tidegate_training.bundling.converters import exact_converters, exact_parsers, exact_shape_calculators
from tidegate_training.bundling.graph_inputs import merge_inputs

OPSET = 17
"""The graph's operator set; every ONNX Runtime since 1.13 supports it."""

_CLASS = re.compile(r"<class '.*?(?P<name>\w+)'>")
"""The class in the converter's error for an estimator that it does not know."""


class NotCompiledError(Exception):
    """An error for a pipeline without an ONNX form; the message is the parity report's reason."""


def to_onnx(
    pipeline: Any, name: str, datatypes: Mapping[str, Datatype], outputs: tuple[Output, ...]
) -> bytes:
    """Convert a fitted pipeline to ONNX. The same pipeline gives the same bytes in every process.

    Args:
        pipeline: The pipeline.
        name: The graph's name.
        datatypes: The features' types by name, in the order of a row.
        outputs: The contract's outputs.

    Returns:
        The serialized graph.

    Raises:
        NotCompiledError: If a step has no converter, or its converter fails.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    from tidegate_training.bundling.onnx_model import OnnxEstimator, adapt_graph

    inputs = _graph_inputs(datatypes)
    if isinstance(pipeline[-1], OnnxEstimator):
        model = adapt_graph(pipeline[-1].graph, name, datatypes)
        _apply_contract(model, outputs, False)
        return bytes(model.SerializeToString(deterministic=True))
    try:
        with warnings.catch_warnings():
            # The converter's own deprecation warnings concern its authors.
            warnings.simplefilter("ignore")
            model = convert_sklearn(
                pipeline,
                name=name,
                initial_types=inputs,
                target_opset={"": OPSET, "ai.onnx.ml": 3},
                options={id(pipeline[-1]): _converter_options(pipeline[-1], outputs)},
                custom_conversion_functions=exact_converters(),
                custom_shape_calculators=exact_shape_calculators(),
                custom_parsers=exact_parsers(),
            )
        if len(inputs) == 1 and inputs[0][0] == MATRIX:
            _rename(model.graph, {model.graph.input[0].name: MATRIX})
        else:
            merge_inputs(model.graph, datatypes)
        _apply_contract(model, outputs, isinstance(getattr(pipeline, "classes_", None), list))
    except (MissingConverter, MissingShapeCalculator) as error:
        kind = _CLASS.search(str(error))
        name = kind["name"] if kind else "a step"
        raise NotCompiledError(f"skl2onnx has no converter for {name}") from error
    except Exception as error:
        # Converters raise any exception, from KeyError to RuntimeError; each one means 'not compiled'.
        raise NotCompiledError(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def open_session(content: bytes) -> Any:
    """Open a graph as the server does, in ONNX Runtime on one thread.

    Raises:
        NotCompiledError: If ONNX Runtime cannot load the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised as well
    # Weights outside of the model would be read from the working directory: no folder has any.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime's exception classes are not public, and their only common base is Exception.
        raise NotCompiledError(
            f"ONNX Runtime cannot load the graph: {' '.join(str(error).split())[:300]}"
        ) from error


def _graph_inputs(datatypes: Mapping[str, Datatype]) -> list[tuple[str, Any]]:
    """Return the inputs of the conversion with their types: one matrix, or one column per feature."""
    from skl2onnx.common import data_types

    tensor_types = {
        Datatype.BOOL: data_types.BooleanTensorType,
        Datatype.INT32: data_types.Int32TensorType,
        Datatype.INT64: data_types.Int64TensorType,
        Datatype.FP32: data_types.FloatTensorType,
        Datatype.FP64: data_types.DoubleTensorType,
        Datatype.BYTES: data_types.StringTensorType,
    }
    distinct = set(datatypes.values())
    if len(distinct) == 1 and Datatype.BYTES not in distinct:
        return [(MATRIX, tensor_types[distinct.pop()]([None, len(datatypes)]))]
    return [(name, tensor_types[datatype]([None, 1])) for name, datatype in datatypes.items()]


def _converter_options(estimator: Any, outputs: tuple[Output, ...]) -> dict[str, bool]:
    """Return the converter's options: all outputs, no dictionaries, margins instead of probabilities."""
    names = [output.name for output in outputs]
    if STANDARD_DEVIATION in names:
        return {"return_std": True}
    if not hasattr(estimator, "classes_"):
        return {}
    options = {"raw_scores": True} if SCORES in names else {}
    # These converters never make dictionaries, and do not know the option 'zipmap'.
    makes_none = type(estimator).__name__ in ("LinearSVC", "NetworkClassifier")
    makes_none = makes_none or type(estimator) in booster_converters()
    return options if makes_none else options | {"zipmap": False}


def _apply_contract(model: Any, outputs: tuple[Output, ...], classes_by_target: bool) -> None:
    """Give a graph's outputs the contract's names, types and shapes; sort its operator sets.

    Args:
        model: The graph in its file format.
        outputs: The contract's outputs.
        classes_by_target: Whether each of several targets has classes of its own.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    element_types = {
        Datatype.BYTES: TensorProto.STRING,
        Datatype.INT64: TensorProto.INT64,
        Datatype.FP32: TensorProto.FLOAT,
        Datatype.FP64: TensorProto.DOUBLE,
    }
    graph_outputs = []
    if len(graph.output) < len(outputs):
        raise ValueError(f"the converter computes {len(graph.output)} of {len(outputs)} outputs")
    # A converter may compute more than the contract has: a classifier's label comes with probabilities.
    for converted, output in zip(graph.output, outputs, strict=False):
        current, element_type = f"{output.name}/converted", element_types[output.datatype]
        _rename(graph, {converted.name: current})
        if output.name == SCORES and output.width == 1 and outputs[0].name != ITEMS:
            # The converters return two columns, -margin and margin; scikit-learn returns the margin alone.
            graph.initializer.append(helper.make_tensor("scores/column", TensorProto.INT64, [1], [1]))
            graph.node.append(
                helper.make_node("Gather", [current, "scores/column"], ["scores/margin"], axis=1)
            )
            current = "scores/margin"
        if output.name == PROBABILITIES and classes_by_target:
            current = _join_targets(graph, current, outputs[0].width or 1, output.width or 1)
        if output.width is not None:
            shape: list[Any] = [None, output.width]
        else:
            graph.initializer.append(helper.make_tensor(f"{output.name}/shape", TensorProto.INT64, [1], [-1]))
            graph.node.append(
                helper.make_node("Reshape", [current, f"{output.name}/shape"], [f"{output.name}/flat"])
            )
            current, shape = f"{output.name}/flat", [None]
        operator = "Identity" if output.datatype is Datatype.BYTES else "Cast"
        attributes = {} if output.datatype is Datatype.BYTES else {"to": element_type}
        graph.node.append(helper.make_node(operator, [current], [output.name], **attributes))
        graph_outputs.append(helper.make_tensor_value_info(output.name, element_type, shape))
    del graph.output[:]
    graph.output.extend(graph_outputs)
    # skl2onnx writes operator sets in the order of a set of strings, which differs between processes.
    opsets = sorted((item.domain, item.version) for item in model.opset_import)
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in opsets)


def _join_targets(graph: Any, current: str, n_targets: int, width: int) -> str:
    """Append the nodes that put the probabilities of several targets side by side; return their output.

    Converters return a sequence of one ``[rows, classes]`` per target, or ``[targets, rows, classes]``.

    Args:
        graph: The graph.
        current: The name of the probabilities in it.
        n_targets: The number of targets.
        width: The number of all classes.
    """
    from onnx import TensorProto, helper

    def add_node(operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def add_integers(name: str, shape: list[int], values: list[int]) -> str:
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, shape, values))
        return name

    if next(value for value in graph.output if value.name == current).type.HasField("sequence_type"):
        names = [f"{PROBABILITIES}/target-{index}" for index in range(n_targets)]
        for index, name in enumerate(names):
            add_node("SequenceAt", [current, add_integers(f"{name}/index", [], [index])], name)
        return add_node("Concat", names, f"{PROBABILITIES}/joined", axis=1)
    by_row = add_node("Transpose", [current], f"{PROBABILITIES}/by-row", perm=[1, 0, 2])
    shape = add_integers(f"{PROBABILITIES}/shape", [2], [-1, width])
    return add_node("Reshape", [by_row, shape], f"{PROBABILITIES}/joined")


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for tensors in (node.input, node.output):
            for index, name in enumerate(tensors):
                tensors[index] = names.get(name, name)
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names.get(value.name, value.name)

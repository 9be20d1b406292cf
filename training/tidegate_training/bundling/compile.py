# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Compiling: a fitted pipeline as an ONNX graph with the contract's names and types.

It converts and names, and says why it could not. Whether the graph gives the same answers is the
certificate's to find out.
"""

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.contract import MATRIX, Datatype, Output
from tidegate_training.bundling.converters import exact_converters
from tidegate_training.bundling.outputs import PREDICTION, PROBABILITIES, SCORES

OPSET = 17
"""The operator set that the graph is written in: supported by every ONNX Runtime since 1.13."""


class NotCompiledError(Exception):
    """The pipeline has no ONNX form; the message is the reason, for the certificate."""


def to_onnx(
    pipeline: Any, name: str, datatypes: Mapping[str, Datatype], outputs: tuple[Output, ...]
) -> bytes:
    """Convert a fitted pipeline; the same pipeline gives the same bytes in every process.

    Args:
        pipeline: The pipeline.
        name: The graph's name.
        datatypes: The features' types by name, in the order of a row.
        outputs: The contract's outputs.

    Raises:
        NotCompiledError: There is no converter for something in it, or the converter failed.
    """
    from skl2onnx import convert_sklearn

    names = _inputs(datatypes)
    pipeline = _with_exact_thresholds(pipeline)
    try:
        with warnings.catch_warnings():
            # Deprecations inside the converter are for its authors.
            warnings.simplefilter("ignore")
            model = convert_sklearn(
                pipeline,
                name=name,
                initial_types=[(given, kind) for given, kind in names],
                target_opset={"": OPSET, "ai.onnx.ml": 3},
                options={id(pipeline[-1]): _options(pipeline[-1], outputs)},
                custom_conversion_functions=exact_converters(),
            )
        _adopt_contract(model, [given for given, _ in names], outputs)
    except Exception as error:
        # Converters raise whatever comes up, from KeyError to RuntimeError; each is a reason not to compile.
        raise NotCompiledError(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def open_session(content: bytes) -> Any:
    """Open a graph as the server does: ONNX Runtime on one thread.

    Raises:
        NotCompiledError: ONNX Runtime cannot run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised as well
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime's own exception classes are not public and share no base but Exception.
        raise NotCompiledError(
            f"ONNX Runtime cannot load it: {' '.join(str(error).split())[:300]}"
        ) from error


def _inputs(datatypes: Mapping[str, Datatype]) -> list[tuple[str, Any]]:
    from skl2onnx.common import data_types

    kinds = {
        Datatype.BOOL: data_types.BooleanTensorType,
        Datatype.INT32: data_types.Int32TensorType,
        Datatype.INT64: data_types.Int64TensorType,
        Datatype.FP32: data_types.FloatTensorType,
        Datatype.FP64: data_types.DoubleTensorType,
        Datatype.BYTES: data_types.StringTensorType,
    }
    found = set(datatypes.values())
    if len(found) == 1 and Datatype.BYTES not in found:
        return [(MATRIX, kinds[found.pop()]([None, len(datatypes)]))]
    return [(name, kinds[datatype]([None, 1])) for name, datatype in datatypes.items()]


def _with_exact_thresholds(pipeline: Any) -> Any:
    """A pipeline that answers the same, and whose thresholds are not changed by being written in 32 bits.

    Histogram boosting has thresholds of 64 bits halfway between two values, which skl2onnx rounds, up as well
    as down. Rounded down, they divide numbers of 32 bits as before. (Other trees skl2onnx rounds so itself.)
    """
    if not type(pipeline[-1]).__name__.startswith("HistGradientBoosting"):
        return pipeline
    pipeline = copy.deepcopy(pipeline)
    for iteration in pipeline[-1]._predictors:
        for tree in iteration:
            thresholds = tree.nodes["num_threshold"]
            rounded = thresholds.astype(np.float32)
            lower = np.nextafter(rounded, np.float32(-np.inf))
            tree.nodes["num_threshold"] = np.where(rounded > thresholds, lower, rounded)
    return pipeline


def _options(estimator: Any, outputs: tuple[Output, ...]) -> dict[str, bool]:
    """The converter's options: arrays instead of dictionaries, margins as margins."""
    if outputs[0].name == PREDICTION:
        return {}
    options = {"raw_scores": True} if outputs[1].name == SCORES else {}
    # The one converter that makes no dictionaries, and refuses to be told so.
    return options if type(estimator).__name__ == "LinearSVC" else options | {"zipmap": False}


def _adopt_contract(model: Any, inputs: list[str], outputs: tuple[Output, ...]) -> None:
    """Give a graph's ends the contract's names, types and shapes, and its fields one order."""
    from onnx import TensorProto, helper

    graph = model.graph
    renamed = {found.name: wanted for found, wanted in zip(graph.input, inputs, strict=True)}
    _rename(graph, renamed)
    kinds = {
        Datatype.BYTES: TensorProto.STRING,
        Datatype.INT64: TensorProto.INT64,
        Datatype.FP32: TensorProto.FLOAT,
        Datatype.FP64: TensorProto.DOUBLE,
    }
    ends = []
    for found, output in zip(graph.output, outputs, strict=True):
        inner, kind = f"{output.name}/found", kinds[output.datatype]
        _rename(graph, {found.name: inner})
        if output.name == SCORES and output.width == 1:
            # The converters give two columns, -margin and margin; scikit-learn gives the second.
            graph.initializer.append(helper.make_tensor("scores/column", TensorProto.INT64, [1], [1]))
            graph.node.append(helper.make_node("Gather", [inner, "scores/column"], ["scores/margin"], axis=1))
            inner = "scores/margin"
        if output.name in (PROBABILITIES, SCORES):
            shape: list[Any] = [None, output.width]
        else:
            graph.initializer.append(helper.make_tensor(f"{output.name}/shape", TensorProto.INT64, [1], [-1]))
            graph.node.append(
                helper.make_node("Reshape", [inner, f"{output.name}/shape"], [f"{output.name}/flat"])
            )
            inner, shape = f"{output.name}/flat", [None]
        final = "Identity" if output.datatype is Datatype.BYTES else "Cast"
        attributes = {} if output.datatype is Datatype.BYTES else {"to": kind}
        graph.node.append(helper.make_node(final, [inner], [output.name], **attributes))
        ends.append(helper.make_tensor_value_info(output.name, kind, shape))
    del graph.output[:]
    graph.output.extend(ends)
    # skl2onnx writes these in the order of a set of strings, which differs from process to process.
    opsets = sorted((item.domain, item.version) for item in model.opset_import)
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in opsets)


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for end in (node.input, node.output):
            for index, name in enumerate(end):
                end[index] = names.get(name, name)
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names.get(value.name, value.name)

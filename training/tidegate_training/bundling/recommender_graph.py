# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles a recommender to ONNX: from a user to the k best items and their scores, in one graph."""

from typing import Any

import numpy as np

from tidegate_training.bundling.graph_builder import ONNX_TYPES, GraphBuilder, operator_parser

parse_recommender = operator_parser("items", "scores")
"""Declares a recommender as one operator with two outputs."""


def declare_recommender_outputs(operator: Any) -> None:
    """Declare the outputs: items and scores, ``[rows, k]`` each."""
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    recommender = operator.raw_operator
    shape = [operator.inputs[0].get_first_dimension(), recommender.k]
    is_text = recommender.items_.dtype.kind == "U"
    items, scores = operator.outputs
    items.type = (StringTensorType if is_text else Int64TensorType)(shape)
    scores.type = FloatTensorType(shape)


def convert_recommender(scope: Any, operator: Any, container: Any) -> None:
    """Add a recommender to a graph: the user's vector times the items', without seen items, and the top k.

    Args:
        scope: skl2onnx's scope, which makes unique names.
        operator: skl2onnx's operator, with the fitted recommender.
        container: skl2onnx's container of the graph's nodes.
    """
    graph = GraphBuilder(scope, operator, container)
    recommender = operator.raw_operator
    user_numbers = _add_user_numbers(graph, recommender)
    graph.add_node("Gather", graph.add_matrix(recommender.user_factors_), user_numbers)
    graph.add_node("MatMul", graph.current, graph.add_matrix(recommender.item_factors_.T))
    graph.add_node("Cast", graph.current, to=ONNX_TYPES[np.dtype(np.float32)])
    if recommender.exclude_seen:
        _exclude_seen(graph, recommender, user_numbers)
    best, scores = scope.get_unique_variable_name("best"), scope.get_unique_variable_name("scores")
    inputs = [graph.current, graph.add_indices([recommender.k])]
    # From ONNX's TopK: of equal scores, the one with the lower number comes first.
    container.add_node("TopK", inputs, [scores, best], op_version=11, axis=1, largest=1, sorted=1)
    graph.add_node("Gather", graph.add_classes(recommender.items_), best)
    graph.finish(operator.outputs[0], cast=False)
    graph.current = scores
    graph.finish(operator.outputs[1], cast=False)


def _add_user_numbers(graph: GraphBuilder, recommender: Any) -> str:
    """Add the search of the users' numbers, ``[rows]``; return its output."""
    users = recommender.users_
    is_text = users.dtype.kind == "U"
    if not is_text:
        graph.add_node("Cast", graph.current, to=7)
    keys = {"keys_strings" if is_text else "keys_int64s": users.tolist()}
    numbers = {"values_int64s": list(range(len(users))), "default_int64": len(users)}
    graph.add_node("LabelEncoder", graph.current, op_domain="ai.onnx.ml", op_version=2, **keys, **numbers)
    graph.add_node("Reshape", graph.current, graph.add_indices([-1]))
    return graph.current


def _exclude_seen(graph: GraphBuilder, recommender: Any, user_numbers: str) -> None:
    """Give the items that a user has the lowest score of all.

    The numbers of all users' items are one list, so the graph grows with the interactions. Each row reads as
    many of them as the user with the most items in the batch has, and ignores those beyond its own.

    Args:
        graph: The graph, whose current tensor is the scores, ``[rows, items]``.
        recommender: The fitted recommender.
        user_numbers: The name of the users' numbers, ``[rows]``.
    """
    scores = graph.current
    bounds = recommender.seen_bounds_
    graph.add_node("Gather", graph.add_indices(bounds[:-1]), user_numbers)
    graph.add_node("Unsqueeze", graph.current, graph.add_indices([1]))
    starts = graph.current
    graph.add_node("Gather", graph.add_indices(np.diff(bounds)), user_numbers)
    counts = graph.current
    graph.add_node("ReduceMax", counts, keepdims=0)
    zero, one = graph.add_scalar(0), graph.add_scalar(1)
    graph.add_node("Range", zero, graph.current, one)
    offsets = graph.current
    graph.add_node("Unsqueeze", counts, graph.add_indices([1]))
    graph.add_node("Less", offsets, graph.current)
    is_own = graph.current
    minus_infinity, nothing = (graph.add_constant(np.array([x], np.float32)) for x in (-np.inf, 0))
    graph.add_node("Where", is_own, minus_infinity, nothing)
    updates = graph.current
    graph.add_node("Add", starts, offsets)
    graph.add_node("Min", graph.current, graph.add_scalar(len(recommender.seen_) - 1))
    graph.add_node("Gather", graph.add_indices(recommender.seen_), graph.current)
    graph.add_node("ScatterElements", scores, graph.current, updates, axis=1, reduction="add", op_version=16)

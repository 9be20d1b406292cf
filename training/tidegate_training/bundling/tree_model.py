# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The trees of a booster in one form for all libraries, and their node in an ONNX graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from tidegate_training.bundling.graph_builder import GraphBuilder

Array = NDArray[Any]

Link = Literal["identity", "exp", "sigmoid", "softmax"]


class Node(NamedTuple):
    """A node of a tree: a comparison of a feature with a threshold, or a leaf with values."""

    number: int
    feature: int = 0
    threshold: float = 0.0
    when_true: int = 0
    when_false: int = 0
    missing_true: bool = False
    values: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class TreeModel:
    """The trees of a booster.

    Attributes:
        trees: By tree, the nodes that the root leads to.
        targets: ``[trees]``, the margin that the first value of each leaf is added to; the next values are
            added to the next margins.
        base: ``[margins]``, the margins before the first tree.
        link: The function from margins to predictions.
        comparison: ONNX's name of the comparison of all nodes.
    """

    trees: Sequence[Sequence[Node]]
    targets: Sequence[int]
    base: Array
    link: Link
    comparison: Literal["BRANCH_LT", "BRANCH_LEQ", "BRANCH_GT"]


def find_link(objective: str, links: Mapping[str, Link]) -> Link:
    """Return the link of an objective.

    Raises:
        NotImplementedError: If the objective has no known link.
    """
    if objective not in links:
        raise NotImplementedError(f"the objective {objective} is unknown, expected one of {', '.join(links)}")
    return links[objective]


def add_trees(graph: GraphBuilder, model: TreeModel) -> None:
    """Add the sum of the trees' leaves, ``[rows, margins]``, added in 64 bits and rounded to 32."""
    nodes = list(chain.from_iterable(model.trees))
    tree_ids = [number for number, tree in enumerate(model.trees) for _ in tree]
    leaves = [
        (tree, node.number, target, value)
        for tree, (of_tree, first) in enumerate(zip(model.trees, model.targets, strict=True))
        for node in of_tree
        for target, value in enumerate(node.values, first)
    ]
    graph.add_trees(
        thresholds=[node.threshold for node in nodes],
        weights=[value for *_, value in leaves],
        base=model.base,
        nodes_treeids=tree_ids,
        nodes_nodeids=[node.number for node in nodes],
        nodes_featureids=[node.feature for node in nodes],
        nodes_modes=["LEAF" if node.values else model.comparison for node in nodes],
        nodes_truenodeids=[node.when_true for node in nodes],
        nodes_falsenodeids=[node.when_false for node in nodes],
        nodes_missing_value_tracks_true=[int(node.missing_true) for node in nodes],
        target_treeids=[tree for tree, *_ in leaves],
        target_nodeids=[number for _, number, *_ in leaves],
        target_ids=[target for *_, target, _ in leaves],
    )

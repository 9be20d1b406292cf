# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Threshold rows: pairs of rows that are as close as their type allows, on both sides of a tree's threshold.

A compiled tree differs from scikit-learn's where a threshold or a row was rounded in another way, and then
only for numbers next to the threshold. The trees are read from the compiled model, so that every library's
trees are found. Which numbers of a feature are next to a threshold is searched by bisection through the
compiled preprocessing, so that any preprocessing is possible.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract
from tidegate_training.bundling.compile import open_session

Array = NDArray[Any]
Integers = NDArray[np.int64]

MAX_THRESHOLDS = 1_000
"""Largest number of thresholds; of more, this many at even distances in the order of the trees."""

MAX_VALUES = 2_000_000
"""Largest number of values, rows times features, in the search; wide models have fewer thresholds."""

_SAMPLE_ROWS = 256
"""Number of data rows that are sent through the trees. A node without any of them is left out."""


def threshold_rows(compiled: bytes, contract: Contract, data: Batch) -> Batch:
    """Build the threshold rows of a compiled model.

    Each pair is a data row that reaches the threshold's node. The feature that the node compares has the two
    adjacent values in turn.

    Args:
        compiled: The compiled model.
        contract: Its contract.
        data: The data. Some of its rows reach the nodes.

    Returns:
        Two rows per threshold; no rows without trees.
    """
    import onnx

    model = onnx.load_from_string(compiled)
    nodes = [node for node in model.graph.node if node.op_type.startswith("TreeEnsemble")]
    if not nodes:
        return data[slice(0)]
    preprocessing = _Preprocessing(model, nodes)
    sample = data.take(_spread(len(data), _SAMPLE_ROWS))
    values = preprocessing.run(sample)
    trees = _Trees.read(nodes, preprocessing.first_columns(values))
    joined = np.concatenate(values, axis=1)
    thresholds, rows = trees.reached_thresholds(joined)
    chosen = _spread(len(thresholds), min(MAX_THRESHOLDS, MAX_VALUES // len(contract.features)))
    return _adjacent_rows(preprocessing, contract, trees, thresholds[chosen], sample.take(rows[chosen]))


def _spread(count: int, limit: int) -> NDArray[np.intp]:
    """Return at most ``limit`` numbers below ``count``, at even distances."""
    if count <= limit:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).round().astype(np.intp)


class _Preprocessing:
    """The part of a compiled model in front of its trees.

    Args:
        model: The compiled model.
        nodes: Its nodes of trees.
    """

    def __init__(self, model: Any, nodes: list[Any]) -> None:
        from onnx import ValueInfoProto, helper

        self.tensors = list(dict.fromkeys(node.input[0] for node in nodes))
        needed, kept = set(self.tensors), []
        for node in reversed(model.graph.node):
            if not needed.isdisjoint(node.output):
                needed.update(_input_names(node))
                kept.append(node)
        outputs = [f"{tensor}/trees" for tensor in self.tensors]
        identities = [
            helper.make_node("Identity", [tensor], [output])
            for tensor, output in zip(self.tensors, outputs, strict=True)
        ]
        graph = helper.make_graph(
            [*reversed(kept), *identities],
            model.graph.name,
            model.graph.input,
            [ValueInfoProto(name=output) for output in outputs],
            [item for item in model.graph.initializer if item.name in needed],
        )
        part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        self._session = open_session(part.SerializeToString())

    def run(self, batch: Batch) -> list[Array]:
        """Return the rows as the trees receive them, ``[rows, width]`` per tensor, in 64 bits."""
        return [np.asarray(values, np.float64) for values in self._session.run(None, batch.for_onnx())]

    def first_columns(self, values: list[Array]) -> dict[str, int]:
        """Return each tensor's first column in the concatenation of all tensors, ``[rows, width]`` each."""
        widths = [array.shape[1] for array in values]
        return dict(zip(self.tensors, np.cumsum([0, *widths[:-1]]).tolist(), strict=True))


def _input_names(node: Any) -> Iterator[str]:
    """Return the names of all tensors that a node reads, those in its subgraphs included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _input_names(inner)


@dataclass(frozen=True, slots=True)
class _Trees:
    """The nodes of all trees, ``[nodes]`` each. A leaf leads to itself.

    Attributes:
        columns: The column that the node compares.
        thresholds: The value that it compares with.
        modes: The comparison, by ONNX's name.
        when_true: The next node if the comparison is true.
        when_false: The next node if it is false.
        missing_true: Whether the comparison counts as true for a missing value.
        roots: ``[trees]``, the first node of each tree.
    """

    columns: Integers
    thresholds: Array
    modes: Array
    when_true: Integers
    when_false: Integers
    missing_true: NDArray[np.bool_]
    roots: Integers

    @classmethod
    def read(cls, nodes: list[Any], first_columns: dict[str, int]) -> Self:
        """Read the trees from nodes of a graph; a node's columns start at the first column of its input."""
        parts, count = [], 0
        for node in nodes:
            parts.append(_read_ensemble(node, first_columns[node.input[0]], count))
            count += len(parts[-1][0])
        columns, thresholds, modes, when_true, when_false, missing = map(
            np.concatenate, zip(*parts, strict=True)
        )
        is_child = np.zeros(count, np.bool_)
        branches = np.flatnonzero(modes != "LEAF")
        is_child[when_true[branches]] = is_child[when_false[branches]] = True
        return cls(columns, thresholds, modes, when_true, when_false, missing, np.flatnonzero(~is_child))

    def is_true(self, nodes: Integers, values: Array) -> NDArray[np.bool_]:
        """Compare values, ``[rows]`` or of any shape, with the thresholds of as many nodes."""
        thresholds, modes = self.thresholds[nodes], self.modes[nodes]
        result = np.select(
            [np.isin(modes, names) for names in (("BRANCH_LEQ", "BRANCH_GT"), ("BRANCH_LT", "BRANCH_GTE"))],
            [values <= thresholds, values < thresholds],
            values == thresholds,
        )
        result ^= np.isin(modes, ("BRANCH_GT", "BRANCH_GTE", "BRANCH_NEQ"))
        return np.where(np.isnan(values), self.missing_true[nodes], result)

    def reached_thresholds(self, values: Array) -> tuple[Integers, NDArray[np.intp]]:
        """Return the nodes that some row reaches and that divide numbers, and the number of such a row.

        Args:
            values: ``[rows, width]``, rows as the trees receive them.
        """
        rows = np.arange(len(values))
        reached = np.full(len(self.columns), -1)
        current = np.repeat(self.roots[:, np.newaxis], len(values), axis=1)
        while True:
            reached[current] = rows
            is_true = self.is_true(current, values[rows, self.columns[current]])
            following = np.where(is_true, self.when_true[current], self.when_false[current])
            if (following == current).all():
                break
            current = following
        divides = ~np.isin(self.modes, ("LEAF", "BRANCH_EQ", "BRANCH_NEQ"))
        nodes = np.flatnonzero(divides & (reached >= 0))
        return nodes, reached[nodes]


def _read_ensemble(node: Any, first_column: int, first_node: int) -> tuple[Array, ...]:
    """Read the trees of one node of a graph: the fields of ``_Trees`` except the roots."""
    from onnx import helper, numpy_helper

    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    thresholds = attributes.get("nodes_values")
    if thresholds is None:
        thresholds = numpy_helper.to_array(attributes["nodes_values_as_tensor"])
    modes = np.array([mode.decode() for mode in attributes["nodes_modes"]])
    trees, ids = (np.array(attributes[f"nodes_{name}"]) for name in ("treeids", "nodeids"))
    keys = trees * (ids.max() + 1) + ids
    order = np.argsort(keys)
    leaf, own = modes == "LEAF", np.arange(len(ids))

    def children(name: str) -> Array:
        child_keys = trees * (ids.max() + 1) + np.array(attributes[name])
        found = order[np.searchsorted(keys[order], child_keys).clip(max=len(order) - 1)]
        return np.where(leaf, own, found) + first_node

    return (
        np.array(attributes["nodes_featureids"]) + first_column,
        np.array(thresholds, np.float64),
        modes,
        children("nodes_truenodeids"),
        children("nodes_falsenodeids"),
        np.array(attributes.get("nodes_missing_value_tracks_true") or np.zeros(len(ids))) != 0,
    )


def _adjacent_rows(
    preprocessing: _Preprocessing, contract: Contract, trees: _Trees, nodes: Integers, rows: Batch
) -> Batch:
    """Return each row twice: with the two adjacent values of a feature between which the node changes sides.

    Args:
        preprocessing: The part of the model in front of the trees.
        contract: The contract.
        trees: The trees.
        nodes: ``[rows]``, the node that each row reaches.
        rows: The rows. Those without such values are left out.
    """
    features = _features_by_column(preprocessing, contract, rows)[trees.columns[nodes]]
    kept = np.flatnonzero(features >= 0)
    features, nodes, rows = features[kept], nodes[kept], rows.take(kept)
    if not len(rows):
        return rows
    low, high = (_ordinals_of_limits(contract, limit)[features] for limit in ("minimum", "maximum"))

    def with_values(ordinals: Integers) -> Batch:
        batch = rows.take(np.arange(len(rows)))
        for index in np.unique(features):
            column = _column(batch, contract, index)
            column[features == index] = _from_ordinals(ordinals[features == index], column.dtype)
        return batch

    def is_true(ordinals: Integers) -> NDArray[np.bool_]:
        values = np.concatenate(preprocessing.run(with_values(ordinals)), axis=1)
        return trees.is_true(nodes, values[np.arange(len(nodes)), trees.columns[nodes]])

    at_low = is_true(low)
    crosses = at_low != is_true(high)
    while (high - low > 1).any():
        middle = (low & high) + ((low ^ high) >> 1)  # the mean, without overflow
        same = is_true(middle) == at_low
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    both = Batch.concatenate([with_values(low), with_values(high)])
    return both.take(np.flatnonzero(np.tile(crosses, 2)))


def _features_by_column(preprocessing: _Preprocessing, contract: Contract, rows: Batch) -> Integers:
    """Return, per column of the trees, the number of the feature that alone determines it, or -1.

    One row has every number at its minimum, one at its maximum. In further rows the numbers of the features
    whose index has a certain bit are at their maximum. A column's changes spell the index of its feature.
    """
    count = len(contract.features)
    bits = max(count - 1, 1).bit_length()
    batch = rows.take(np.zeros(bits + 2, np.intp)) if len(rows) else rows
    numbers = [
        index
        for index, feature in enumerate(contract.features)
        if feature.minimum is not None and feature.maximum is not None
    ]
    if not len(rows) or not numbers:
        return np.full(sum(array.shape[1] for array in preprocessing.run(batch)), -1)
    for index in numbers:
        feature = contract.features[index]
        limits: tuple[Any, Any] = (feature.minimum, feature.maximum)
        at_maximum = [0, 1, *(index >> bit & 1 for bit in range(bits))]
        _column(batch, contract, index)[:] = [limits[number] for number in at_maximum]
    values = np.concatenate(preprocessing.run(batch), axis=1)
    is_maximum = values[2:] == values[1]
    found = (is_maximum * (1 << np.arange(bits))[:, np.newaxis]).sum(axis=0)
    return np.where((values[0] != values[1]) & np.isin(found, numbers), found, -1)


def _column(batch: Batch, contract: Contract, index: int) -> Array:
    """Return a feature's values, ``[rows]``, as a view of the batch."""
    matrix = batch.arrays.get(MATRIX)
    return batch.arrays[contract.feature_names[index]] if matrix is None else matrix[:, index]


def _ordinals_of_limits(contract: Contract, limit: str) -> Integers:
    """Return the ordinal of each feature's minimum or maximum, ``[features]``; 0 if it has none."""
    ordinals = np.zeros(len(contract.features), np.int64)
    for index, feature in enumerate(contract.features):
        value = getattr(feature, limit)
        if value is not None:
            ordinals[index] = _to_ordinals(np.array([value], feature.datatype.dtype))[0]
    return ordinals


def _to_ordinals(values: Array) -> Integers:
    """Return integers in the order of the values; adjacent values have adjacent integers."""
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    integer = np.dtype(f"i{values.dtype.itemsize}")
    bits = values.view(integer).astype(np.int64)
    return np.where(bits < 0, np.iinfo(integer).min - bits, bits)


def _from_ordinals(ordinals: Integers, dtype: np.dtype[Any]) -> Array:
    """Return the values of a type that :func:`_to_ordinals` made the integers from."""
    if dtype.kind != "f":
        return ordinals.astype(dtype)
    integer = np.dtype(f"i{dtype.itemsize}")
    bits = np.where(ordinals < 0, np.iinfo(integer).min - ordinals, ordinals)
    return bits.astype(integer).view(dtype)

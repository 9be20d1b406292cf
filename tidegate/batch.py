# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Batches: rows of feature values as arrays in the contract's data types.

Training compares the engines on batches of this form, and the server computes batches of the same form. It
does not validate values: the server validates each request before it makes a batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import MATRIX, Contract, Datatype, Layout, Scalar

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]


def graph_input(datatype: Datatype) -> str:
    """Return the name of a compiled model's input: the matrix of all features of a data type.

    The name applies to models with features of several types, or of text.
    """
    return f"input-{datatype}"


_GRAPH_INPUTS = {datatype.dtype: graph_input(datatype) for datatype in Datatype}


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as arrays: one matrix ``[rows, features]`` named ``input-0``, or one ``[rows]`` array per feature.

    A contract has the matrix if its features are numbers of one type.
    """

    arrays: Mapping[str, Array]

    @classmethod
    def from_rows(cls, contract: Contract, rows: Sequence[Sequence[Scalar]]) -> Self:
        """Convert rows of JSON values. None becomes NaN, or "" in a text feature."""
        return cls.from_columns(
            contract,
            {
                feature.name: to_column([row[index] for row in rows], feature.datatype)
                for index, feature in enumerate(contract.features)
            },
        )

    @classmethod
    def from_columns(cls, contract: Contract, columns: Mapping[str, Array]) -> Self:
        """Combine one ``[rows]`` array per feature, each in its feature's numpy type."""
        if contract.matrix_datatype is None:
            return cls({name: columns[name] for name in contract.feature_names})
        stacked = np.stack([columns[name] for name in contract.feature_names], axis=1)
        return cls({MATRIX: stacked.astype(contract.matrix_datatype.dtype, copy=False)})

    @classmethod
    def concatenate(cls, batches: Sequence["Batch"]) -> "Batch":
        """Concatenate the rows of batches that have one contract, in order."""
        if len(batches) == 1:
            return batches[0]
        return cls({name: np.concatenate([b.arrays[name] for b in batches]) for name in batches[0].arrays})

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, rows: slice) -> "Batch":
        return Batch({name: array[rows] for name, array in self.arrays.items()})

    def take(self, rows: Array) -> "Batch":
        """Return a copy of the rows with these numbers, or of those where a mask ``[rows]`` is true."""
        return Batch({name: array[rows] for name, array in self.arrays.items()})

    def for_onnx(self) -> dict[str, Array]:
        """Return the inputs of a compiled model: one matrix ``[rows, features]`` per data type."""
        if MATRIX in self.arrays:
            return {MATRIX: self.arrays[MATRIX]}
        columns: dict[np.dtype[Any], list[Array]] = {}
        for array in self.arrays.values():
            columns.setdefault(array.dtype, []).append(array)
        # One copy for all columns: stacking array by array takes ten times as long.
        return {
            _GRAPH_INPUTS[dtype]: np.ascontiguousarray(np.concatenate(arrays).reshape(len(arrays), -1).T)
            for dtype, arrays in columns.items()
        }

    def for_sklearn(self, layout: Layout, names: Sequence[str]) -> "Array | pd.DataFrame":
        """Return the input of a pipeline.

        Args:
            layout: How the pipeline takes its rows.
            names: The features' names, in the order of a row.

        Returns:
            ``[rows, features]``, a data frame with a column per feature, or ``[rows]`` texts.
        """
        if layout == "texts":
            return self.arrays[names[0]]
        if layout == "matrix":
            return self.arrays[MATRIX]
        import pandas as pd  # here, because compiled models and matrices do not need it

        if MATRIX in self.arrays:
            return pd.DataFrame(self.arrays[MATRIX], columns=list(names), copy=False)
        return pd.DataFrame(dict(self.arrays), copy=False)


def to_column(values: Sequence[Scalar], datatype: Datatype) -> Array:
    """Convert JSON values of one feature to ``[rows]``. None becomes NaN, or "" in a text feature."""
    if datatype is Datatype.BYTES:
        return np.array(["" if value is None else value for value in values], dtype=object)
    if datatype.is_float:
        return np.array([np.nan if value is None else value for value in values], dtype=datatype.dtype)
    return np.array(values, dtype=datatype.dtype)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A batch: rows of feature values as arrays in the contract's data types.

Both the parity certificate made in training and the server feed models from here, so that what was
certified is what is served. It trusts its values: checking a client's is the server's part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import MATRIX, Contract, Datatype, Scalar

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as arrays: one matrix ``{"input-0": [rows, features]}``, or a ``[rows]`` column a feature.

    The matrix is the form of every contract whose features are numbers of one type.
    """

    arrays: Mapping[str, Array]

    @classmethod
    def from_rows(cls, contract: Contract, rows: Sequence[Sequence[Scalar]]) -> Self:
        """Arrays from rows of JSON values; None becomes NaN, or "" in a text feature."""
        return cls.from_columns(
            contract,
            {
                feature.name: _column([row[index] for row in rows], feature.datatype)
                for index, feature in enumerate(contract.features)
            },
        )

    @classmethod
    def from_columns(cls, contract: Contract, columns: Mapping[str, Array]) -> Self:
        """From one ``[rows]`` array a feature, each already in its feature's numpy type."""
        if contract.matrix_datatype is None:
            return cls({name: columns[name] for name in contract.feature_names})
        stacked = np.stack([columns[name] for name in contract.feature_names], axis=1)
        return cls({MATRIX: stacked.astype(contract.matrix_datatype.dtype, copy=False)})

    @classmethod
    def concatenate(cls, batches: Sequence["Batch"]) -> "Batch":
        """One batch of all rows, in order. All must be of one contract."""
        if len(batches) == 1:
            return batches[0]
        return cls({name: np.concatenate([b.arrays[name] for b in batches]) for name in batches[0].arrays})

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, rows: slice) -> "Batch":
        return Batch({name: array[rows] for name, array in self.arrays.items()})

    def for_onnx(self) -> dict[str, Array]:
        """The feed of a compiled model: the matrix, or each column as ``[rows, 1]``."""
        return {
            name: array if array.ndim == 2 else array.reshape(-1, 1) for name, array in self.arrays.items()
        }

    def for_sklearn(self) -> "Array | pd.DataFrame":
        """What a pipeline takes: the matrix, or a data frame with the columns by name."""
        if MATRIX in self.arrays and self.arrays[MATRIX].ndim == 2:
            return self.arrays[MATRIX]
        import pandas as pd  # only mixed columns need it, and only off the compiled path

        return pd.DataFrame(dict(self.arrays), copy=False)


def _column(values: Sequence[Scalar], datatype: Datatype) -> Array:
    if datatype is Datatype.BYTES:
        return np.array(["" if value is None else value for value in values], dtype=object)
    if datatype.is_float:
        return np.array([np.nan if value is None else value for value in values], dtype=datatype.dtype)
    return np.array(values, dtype=datatype.dtype)

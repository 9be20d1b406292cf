# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Feature columns in the contract's data types, as pipeline, compiled model and server receive them.

The values are valid already: :mod:`tidegate_training.data.table` converts and validates the columns of a
file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Datatype, Layout, Sensitivity

Array = NDArray[Any]
Indices = NDArray[np.intp]
"""Row numbers, from 0."""


@dataclass(frozen=True, slots=True)
class FeaturePolicy:
    """The part of a feature's contract that no data shows.

    Attributes:
        handle_unknown: Whether the server rejects or accepts a category that is not in the training rows.
        sensitivity: How carefully the feature's values are to be handled.
        categorical: Whether the integers of the feature are categories. Texts always are.
        free_text: Whether the feature's texts have any content, and are not categories.
        format: The format of texts that are dates or times.
        order: The categories of a text feature from the lowest to the highest, if they have an order.
    """

    handle_unknown: Literal["reject", "accept"] = "reject"
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    categorical: bool = False
    free_text: bool = False
    format: Literal["date", "date-time"] | None = None
    order: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Feature columns of equal length, in the order of a request's row.

    Attributes:
        columns: By feature, ``[rows]`` in the feature's numpy type. A missing value is NaN, or "" in text.
        datatypes: By feature, its data type.
    """

    columns: Mapping[str, Array]
    datatypes: Mapping[str, Datatype]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def is_matrix(self) -> bool:
        """Whether all features are numbers of one type, so that the rows form one matrix."""
        datatypes = set(self.datatypes.values())
        return len(datatypes) == 1 and Datatype.BYTES not in datatypes

    @property
    def layout(self) -> Layout:
        """How a pipeline that knows no names takes the rows."""
        return "matrix" if self.is_matrix else "frame"

    def batch(self, rows: Indices) -> Batch:
        """Return the rows with the numbers ``rows``, ``[batch_rows]``, as the server decodes them."""
        if self.is_matrix:
            return Batch({MATRIX: np.stack([column[rows] for column in self.columns.values()], axis=1)})
        return Batch({name: column[rows] for name, column in self.columns.items()})

    def sklearn_rows(self, rows: Indices, layout: Layout) -> Any:
        """Return the rows with the numbers ``rows``, ``[batch_rows]``, as a pipeline takes them."""
        return self.batch(rows).for_sklearn(layout, list(self.datatypes))

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Return the mask of a feature's missing values, ``[rows]``."""
        column = self.columns[name]
        if self.datatypes[name].is_float:
            return np.asarray(np.isnan(column))
        if self.datatypes[name] is Datatype.BYTES:
            return np.asarray(column == "", dtype=np.bool_)
        return np.zeros(len(column), dtype=np.bool_)

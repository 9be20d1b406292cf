# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Sample rows in memory (pandas, polars, NumPy, texts) as feature columns in the contract's types.

The types are those of the data: a column of 64-bit floats stays one. It reads no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import MATRIX, Datatype, Layout
from tidegate.errors import DataError
from tidegate_training.bundling.features import FeatureTable

Array = NDArray[Any]

TEXT_FEATURE = "text"
"""The name of the one feature of a list of texts."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Sample rows.

    Attributes:
        features: Feature columns, ``[rows]`` each.
        layout: How a pipeline that takes these rows takes them.
        original: The rows as the caller has them, in a form that scikit-learn accepts.
    """

    features: FeatureTable
    layout: Layout
    original: Any


def read_samples(X: Any, feature_names: Sequence[str] | None = None) -> Samples:
    """Convert sample rows to feature columns.

    Args:
        X: A pandas or polars data frame, an array or a list of lists ``[rows, features]``, or a list, array
            or series ``[rows]`` of texts.
        feature_names: The names that the pipeline was fitted with, if it was fitted on a data frame.

    Raises:
        DataError: If the rows have another form, or a column has values that no contract describes.
    """
    if type(X).__module__.startswith("polars"):
        X = X.to_pandas()
    if hasattr(X, "columns"):
        return _from_frame(X, named=feature_names is not None)
    if hasattr(X, "sparse") or type(X).__module__.startswith("scipy.sparse"):
        raise DataError(
            "X is a sparse matrix, and a request has a value for each feature: put the step that makes the "
            "matrix into the pipeline, and give its input."
        )
    values = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object if _has_texts(X) else None)
    if values.ndim == 1 and len(values) and all(isinstance(value, str) for value in values):
        texts = values.astype(object)
        return Samples(
            FeatureTable({TEXT_FEATURE: texts}, {TEXT_FEATURE: Datatype.BYTES}), "texts", list(texts)
        )
    if values.ndim != 2 or 0 in values.shape:
        raise DataError(f"X has the shape {values.shape}: expected [rows, features], or a list of texts.")
    import pandas as pd

    names = list(feature_names) if feature_names is not None else [f"x{i}" for i in range(values.shape[1])]
    if len(names) != values.shape[1]:
        raise DataError(
            f"X has {values.shape[1]} columns, and the model was fitted on {len(names)}: give the columns "
            f"{', '.join(names[:10])}."
        )
    frame = pd.DataFrame(values, columns=names).infer_objects()
    return _from_frame(frame, named=feature_names is not None, original=values)


def _has_texts(X: Any) -> bool:
    if not isinstance(X, Sequence) or isinstance(X, str) or not X:
        return False
    first = X[0] if isinstance(X[0], list | tuple) else [X[0]]
    return any(isinstance(value, str) for value in first)


def _from_frame(frame: Any, *, named: bool, original: Any = None) -> Samples:
    """Convert a data frame; without names in the model, numbers of one type are a matrix."""
    if not len(frame) or not len(frame.columns):
        raise DataError(f"X has the shape {frame.shape}: expected at least one row and one feature.")
    columns, datatypes = {}, {}
    for position, name in enumerate(frame.columns):
        if not isinstance(name, str) or not name or name == MATRIX:
            raise DataError(
                f"X: column {position + 1} is called {name!r}: expected a text, not empty and not "
                f"'{MATRIX}'; rename the column and fit again."
            )
        if name in columns:
            raise DataError(f"X has more than one column '{name}': rename one, and fit again.")
        columns[name], datatypes[name] = _convert(name, frame.iloc[:, position])
    features = FeatureTable(columns, datatypes)
    layout: Layout = "matrix" if features.is_matrix and not named else "frame"
    if original is None:
        original = frame.to_numpy() if layout == "matrix" else frame
    return Samples(features, layout, original)


def _convert(name: str, column: Any) -> tuple[Array, Datatype]:
    """Convert a pandas column to a feature's values, ``[rows]``, and its type."""
    import pandas as pd

    where = f"X: the column '{name}'"
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype if not column.isna().any() else object)
    missing = column.isna().to_numpy()
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "string":
        return np.array([v if isinstance(v, str) else "" for v in column], dtype=object), Datatype.BYTES
    if kind == "boolean":
        if missing.any():
            raise DataError(
                f"{where} is missing in row {int(missing.argmax()) + 1}: expected true or false; make it a "
                "column of numbers, and fit again."
            )
        return column.to_numpy(np.bool_), Datatype.BOOL
    if kind in ("integer", "floating", "mixed-integer-float"):
        return _convert_numbers(where, column, missing)
    raise DataError(
        f"{where} has values of the kind {kind} ({column.dtype}): expected numbers, booleans or texts; "
        "convert the column before the pipeline."
    )


def _convert_numbers(where: str, column: Any, missing: Array) -> tuple[Array, Datatype]:
    dtype = column.dtype
    is_integer = np.issubdtype(getattr(dtype, "numpy_dtype", dtype), np.integer) and not missing.any()
    if is_integer:
        small = dtype.itemsize < 4 or str(dtype).lower() == "int32"
        datatype = Datatype.INT32 if small else Datatype.INT64
        if int(column.max()) > np.iinfo(np.int64).max:
            raise DataError(f"{where} has {column.max()}: expected whole numbers below 2^63.")
        return column.to_numpy(datatype.dtype), datatype
    single = getattr(dtype, "itemsize", 8) < 8 and not np.issubdtype(
        getattr(dtype, "numpy_dtype", dtype), np.integer
    )
    datatype = Datatype.FP32 if single else Datatype.FP64
    values = column.to_numpy(datatype.dtype, na_value=np.nan)
    if np.isinf(values).any():
        raise DataError(
            f"{where} has an infinite number in row {int(np.isinf(values).argmax()) + 1}: expected finite "
            "numbers, because servers reject others."
        )
    return values, datatype

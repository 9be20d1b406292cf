# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Fitted models and their sample rows from files.

A pickle runs code while it is opened. It is opened only if the caller allows it, and never ends in a bundle.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tidegate.errors import ConfigurationError, DataError, FieldError
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.booster_file import LIBRARIES, import_library, read_booster
from tidegate_training.bundling.boosters import LIBRARY_TYPES
from tidegate_training.config import Data
from tidegate_training.data.columns import DeclaredKind
from tidegate_training.data.source import Source, read_source
from tidegate_training.mlflow_folder import MlflowFolder, read_mlflow
from tidegate_training.networks.keras_file import read_keras
from tidegate_training.onnx_file import read_onnx

PICKLES = (".joblib", ".pkl", ".pickle")
ARCHIVES = (".skops",)
KERAS = (".keras",)
ONNX = (".onnx",)

_KINDS: Mapping[str, DeclaredKind] = {
    "float64": "number",
    "float32": "number",
    "int64": "number",
    "int32": "number",
    "bool": "boolean",
    "object": "text",
}
"""The kinds of columns by numpy's types."""


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A fitted estimator, and numpy's types by column if a signature has them."""

    estimator: Any
    dtypes: Mapping[str, str] | None = None
    number_dtype: str = "float64"
    """numpy's type of the numbers without an entry in ``dtypes``."""

    @property
    def columns(self) -> list[str] | None:
        """The columns that the estimator was fitted on; None if they are unknown."""
        names = getattr(self.estimator, "feature_names_in_", None)
        if names is not None:
            return [str(name) for name in names]
        return None if self.dtypes is None else list(self.dtypes)


def read_model(path: Path, policy: Policy, *, allow_pickle: bool) -> SavedModel:
    """Read a fitted estimator from a file, or from a folder that MLflow has written.

    Args:
        path: A pickle, an archive of skops, a booster or a network that its library has saved, a graph of
            ONNX, or MLflow's folder.
        policy: The types that an archive may contain; those of the libraries of boosters may always.
        allow_pickle: Whether a pickle may be opened, which can run any code.

    Raises:
        ConfigurationError: If the file has another format, is missing, is a pickle that must not be opened,
            or belongs to another version of its library.
        BundleError: If an archive contains a type that the policy does not trust.
    """
    folder = read_mlflow(path) if path.is_dir() else None
    file = path if folder is None else folder.file
    suffix = file.suffix.lower()
    known = (*PICKLES, *ARCHIVES, *LIBRARIES, *KERAS, *ONNX)
    if suffix not in known:
        raise ConfigurationError(
            f"{file} is not a model that can be bundled: expected a folder of MLflow, or a file that ends in "
            f"{', '.join(known)}; save the fitted estimator with joblib or skops."
        )
    if suffix in PICKLES and not allow_pickle:
        raise ConfigurationError(
            f"{file} is a pickle, and opening a pickle can run any code with your rights: if you trust its "
            "author, add --allow-pickle."
        )
    try:
        file.open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from None
    if folder is not None:
        _require_version(path, folder)
    if suffix in KERAS:
        return SavedModel(read_keras(file), number_dtype="float32")
    if suffix in ONNX:
        graph = (estimator := read_onnx(file)).graph
        dtypes = {name: str(datatype.dtype) for name, datatype in graph.datatype_by_input.items()}
        if len(dtypes) > 1:
            return SavedModel(estimator, dtypes)
        return SavedModel(estimator, number_dtype=next(iter(dtypes.values())))
    if suffix in LIBRARIES:
        estimator = read_booster(file)
    elif suffix in ARCHIVES:
        estimator = build_pipeline(
            file.read_bytes(), replace(policy, trusted_types=policy.trusted_types | LIBRARY_TYPES)
        )
    else:
        estimator = _unpickle(file)
    return SavedModel(estimator, None if folder is None else folder.dtypes)


def _require_version(path: Path, folder: MlflowFolder) -> None:
    """Check the library's version: its own formats need the saved version or a newer one, others the same.

    Raises:
        ConfigurationError: If this environment has another version.
    """
    installed = import_library(path, folder.library).__version__
    if folder.file.suffix in LIBRARIES:
        fits, remedy = _release(installed) >= _release(folder.version), "install that version or a newer one"
    else:
        fits, remedy = installed == folder.version, "install that version, or fit the model again"
    if not fits:
        raise ConfigurationError(
            f"{path} was saved with {folder.library} {folder.version}, and this environment has {installed}, "
            f"which may read another model from it: {remedy}."
        )


def _release(version: str) -> list[int]:
    """Return the numbers of a version."""
    return [int(number) for number in re.findall(r"\d+", version)]


def _unpickle(file: Path) -> Any:
    import joblib
    from sklearn.exceptions import InconsistentVersionWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", InconsistentVersionWarning)
            return joblib.load(file)
    except InconsistentVersionWarning as warning:
        raise ConfigurationError(
            f"{file} was saved with scikit-learn {warning.original_sklearn_version}, and this environment "
            f"has {warning.current_sklearn_version}: only the same version reads it reliably; install that "
            "version, or fit the model again."
        ) from None
    except Exception as error:  # a pickle raises anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ConfigurationError(
            f"{file} cannot be opened ({reason}): install the packages that it needs, or save it again."
        ) from None


def read_rows(
    file: str,
    target: str | None,
    names: list[str] | None,
    dtypes: Mapping[str, str] | None = None,
    number_dtype: str = "float64",
) -> tuple[Any, Any]:
    """Read sample rows, and the true values if their column is named.

    A file does not say whether a column of whole numbers may have fractions, so all numbers are floats
    unless their types are known.

    Args:
        file: A CSV or Parquet file, or an object such as ``s3://bucket/key.csv``.
        target: The column of the true values; None without one.
        names: The columns that the model was fitted on; by default all except the target.
        dtypes: numpy's types by column, as far as they are known.
        number_dtype: numpy's type of the other numbers; if it is not of floats, of all other columns.

    Returns:
        The rows as a data frame, and the values as an array ``[rows]`` or None.

    Raises:
        ConfigurationError: If a column is missing.
        DataError: If the file cannot be read, or a value does not fit its column's type.
    """
    import pandas as pd

    try:
        source = read_source(Data(path=file), Path())
    except FieldError as error:
        raise ConfigurationError(f"{file}: {error.problem}.") from None
    # LightGBM replaces the spaces in the names of columns.
    columns = {re.sub(r"\s", "_", name): name for name in source.names} | {
        name: name for name in source.names
    }
    wanted = names if names is not None else [name for name in source.names if name != target]
    for name in [*wanted, *([target] if target is not None else [])]:
        if name not in columns:
            raise ConfigurationError(
                f"{source.name} has no column '{name}': expected {', '.join(wanted[:10])}"
                f"{' and the target ' + target if target is not None else ''}; received "
                f"{', '.join(source.names[:10])}."
            )
    frame = pd.DataFrame(
        {
            columns[name]: _values(source, columns[name], (dtypes or {}).get(columns[name]), number_dtype)
            for name in wanted
        }
    )
    return frame, None if target is None else source.column(target).convert(None).values


def _values(source: Source, name: str, dtype: str | None, number_dtype: str) -> Any:
    """Return a column in its type; without one, numbers are floats."""
    if dtype is None and not number_dtype.startswith("float"):
        dtype = number_dtype  # the one type of a matrix, of which every column has to be
    column = source.column(name).convert(None if dtype is None else _KINDS[dtype])
    if column.kind == "boolean" and column.missing.any():
        raise DataError(
            f"{source.name}: the column '{name}' has no value in row {int(column.missing.argmax()) + 1}: "
            "expected true or false; fill the gaps in."
        )
    if dtype is None:
        return column.values.astype(number_dtype) if column.values.dtype.kind in "iuf" else column.values
    if dtype.startswith("int") and column.kind != "integer":
        raise DataError(
            f"{source.name}: the column '{name}' has missing values or fractions: expected whole numbers, as "
            f"the model's input has the type {dtype}; correct these rows, or leave them out."
        )
    values = column.values.astype(dtype)
    if dtype.startswith(("int", "bool")) and (changed := values != column.values).any():
        row = int(changed.argmax())
        raise DataError(
            f"{source.name}: the column '{name}' has {column.values[row]} in row {row + 1}: expected a value "
            f"that {dtype} holds, the type of the model's input; correct it, or leave the row out."
        )
    return values

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Model folders of MLflow: the model's file, its library with the version, and the columns of the signature.

It reads the file ``MLmodel``, so MLflow itself is not needed. It opens no model.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.errors import ConfigurationError
from tidegate.settings import Document

MLMODEL = "MLmodel"
"""The file that describes a folder's model, in YAML."""


@dataclass(frozen=True, slots=True)
class _Flavor:
    """The keys of a flavor: those of the model's file and of the library's version."""

    library: str
    file_key: str
    version_key: str


_FLAVORS = {
    "sklearn": _Flavor("sklearn", "pickled_model", "sklearn_version"),
    "xgboost": _Flavor("xgboost", "data", "xgb_version"),
    "lightgbm": _Flavor("lightgbm", "data", "lgb_version"),
}
"""The flavors that have an estimator with scikit-learn's interface."""

_DTYPES = {
    "boolean": "bool",
    "double": "float64",
    "float": "float32",
    "integer": "int32",
    "long": "int64",
    "string": "object",
}
"""numpy's types by MLflow's, of the columns that a request can have."""


@dataclass(frozen=True, slots=True)
class MlflowFolder:
    """A folder that MLflow has written.

    Attributes:
        file: The model's file.
        library: The library that saved the model, by the name of its package in Python.
        version: The library's version.
        dtypes: numpy's types by column, in order, from the model's signature; None without named columns.
    """

    file: Path
    library: str
    version: str
    dtypes: Mapping[str, str] | None


def read_mlflow(folder: Path) -> MlflowFolder:
    """Read the description of a folder's model.

    Raises:
        ConfigurationError: If the folder is not MLflow's, its model has no flavor that can be bundled, or its
            signature has a column that a request cannot have.
    """
    description = folder / MLMODEL
    if not description.is_file():
        raise ConfigurationError(
            f"{folder} is a folder without a file {MLMODEL}: expected a model's file, or a folder that "
            "MLflow has written."
        )
    values = Document.read(description).values
    flavors = values.get("flavors") or {}
    name = next((name for name in _FLAVORS if name in flavors), None)
    if name is None:
        raise ConfigurationError(
            f"{description} has the flavors {', '.join(flavors) or 'none'}: expected one of "
            f"{', '.join(_FLAVORS)}, because only these have an estimator with scikit-learn's interface; "
            "save the estimator itself."
        )
    keys, flavor = _FLAVORS[name], flavors[name]
    file, version = flavor.get(keys.file_key), flavor.get(keys.version_key)
    if not isinstance(file, str) or version is None:
        raise ConfigurationError(
            f"{description}: expected {keys.file_key} and {keys.version_key} in the flavor {name}; save the "
            "model again with MLflow."
        )
    dtypes = _read_signature(description, values.get("signature") or {})
    return MlflowFolder(folder / file, keys.library, str(version), dtypes)


def _read_signature(description: Path, signature: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Return numpy's types by column; None if the inputs have no names, as those of an array."""
    inputs = json.loads(signature.get("inputs") or "[]")
    if not inputs or any("name" not in column or column["type"] == "tensor" for column in inputs):
        return None
    for column in inputs:
        if column["type"] not in _DTYPES:
            raise ConfigurationError(
                f"{description}: the signature's column '{column['name']}' has the type {column['type']}: "
                f"expected one of {', '.join(_DTYPES)}, because a request has no other; convert the column "
                "before the model, and save the model again."
            )
    return {column["name"]: _DTYPES[column["type"]] for column in inputs}

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Model folders of MLflow: the model's file, its library with the version, and the columns of the signature.

It reads the file ``MLmodel``, so MLflow itself is not needed. It opens no model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Json

from tidegate.errors import ConfigurationError
from tidegate.settings import load_yaml

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


class _Part(BaseModel):
    """A part of the file, of which only the fields that a bundle needs are read."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Column(_Part):
    type: str
    name: str | None = None


class _Signature(_Part):
    inputs: Json[list[_Column]] | None = None


class _Description(_Part):
    flavors: dict[str, dict[str, Any]] = {}
    signature: _Signature | None = None


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
        ConfigurationError: If the folder is not MLflow's, its description has another form, its model has no
            flavor that can be bundled or is outside of the folder, or its signature has a column that a
            request cannot have.
    """
    description = folder / MLMODEL
    if not description.is_file():
        raise ConfigurationError(
            f"{folder} is a folder without a file {MLMODEL}: expected a model's file, or a folder that "
            "MLflow has written."
        )
    model = load_yaml(description, _Description)
    flavors = model.flavors
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
    if not _is_inside(folder, file):
        raise ConfigurationError(
            f"{description}: expected {keys.file_key} of the flavor {name} to be a file inside the folder, "
            f"received {file!r}, which leads out of it; copy the model into the folder."
        )
    columns = (model.signature and model.signature.inputs) or []
    return MlflowFolder(folder / file, keys.library, str(version), _dtypes(description, columns))


def _is_inside(folder: Path, file: str) -> bool:
    """Return whether a path stays in a folder after its symbolic links are followed."""
    try:
        return (folder / file).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a character that no path has
        return False


def _dtypes(description: Path, columns: Sequence[_Column]) -> Mapping[str, str] | None:
    """Return numpy's types by column; None if the columns have no names, as those of an array."""
    dtypes = {}
    for column in columns:
        if column.name is None or column.type == "tensor":
            return None
        if column.type not in _DTYPES:
            raise ConfigurationError(
                f"{description}: the signature's column '{column.name}' has the type {column.type}: "
                f"expected one of {', '.join(_DTYPES)}, because a request has no other; convert the column "
                "before the model, and save the model again."
            )
        dtypes[column.name] = _DTYPES[column.type]
    return dtypes or None

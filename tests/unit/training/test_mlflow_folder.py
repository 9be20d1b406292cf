# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Folders in the form that MLflow 3.17 writes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.errors import ConfigurationError
from tidegate_training.mlflow_folder import read_mlflow

SKLEARN = {
    "code": None,
    "pickled_model": "model.skops",
    "serialization_format": "skops",
    "sklearn_version": "1.9.1",
    "skops_trusted_types": ["numpy.dtype"],
}
XGBOOST = {"code": None, "data": "model.ubj", "model_format": "ubj", "xgb_version": "3.2.0"}
LIGHTGBM = {"data": "model.lgb", "lgb_version": "4.7.0", "model_class": "lightgbm.basic.Booster"}


def write_folder(folder: Path, flavors: Any, inputs: Any = None) -> Path:
    """Write the file ``MLmodel`` of a folder."""
    python = {"loader_module": "mlflow.sklearn", "python_version": "3.11.7"}
    description: dict[str, Any] = {
        "flavors": {"python_function": python, **flavors},
        "mlflow_version": "3.17.2",
    }
    if inputs is not None:
        description["signature"] = {"inputs": json.dumps(inputs), "outputs": None, "params": None}
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_text(yaml.safe_dump(description))
    return folder


@pytest.mark.parametrize(
    ("flavors", "file", "library", "version"),
    [
        ({"sklearn": SKLEARN}, "model.skops", "sklearn", "1.9.1"),
        ({"sklearn": SKLEARN | {"sklearn_version": "0.22"}}, "model.skops", "sklearn", "0.22"),
        ({"xgboost": XGBOOST}, "model.ubj", "xgboost", "3.2.0"),
        ({"lightgbm": LIGHTGBM}, "model.lgb", "lightgbm", "4.7.0"),
    ],
)
def test_read_mlflow_finds_file_and_version(
    flavors: Any, file: str, library: str, version: str, tmp_path: Path
) -> None:
    folder = read_mlflow(write_folder(tmp_path, flavors))
    assert folder.file == tmp_path / file
    assert (folder.library, folder.version, folder.dtypes) == (library, version, None)


def test_read_mlflow_signature_has_the_types_of_columns(tmp_path: Path) -> None:
    types = {"a": "double", "b": "float", "c": "long", "d": "integer", "e": "boolean", "f": "string"}
    inputs = [{"type": kind, "name": name, "required": True} for name, kind in types.items()]
    dtypes = read_mlflow(write_folder(tmp_path, {"sklearn": SKLEARN}, inputs)).dtypes
    assert dtypes == {"a": "float64", "b": "float32", "c": "int64", "d": "int32", "e": "bool", "f": "object"}


@pytest.mark.parametrize(
    "inputs",
    [
        [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 30]}}],
        [{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "float64", "shape": [-1, 30]}}],
        [{"type": "double", "required": True}],
    ],
)
def test_read_mlflow_signature_of_an_array_has_no_columns(inputs: Any, tmp_path: Path) -> None:
    assert read_mlflow(write_folder(tmp_path, {"sklearn": SKLEARN}, inputs)).dtypes is None


@pytest.mark.parametrize(
    ("flavors", "inputs", "words"),
    [
        ({}, None, "has the flavors python_function: expected one of sklearn, xgboost, lightgbm"),
        ({"pytorch": {}}, None, "has the flavors python_function, pytorch: expected one of"),
        ({"xgboost": {"data": "model.ubj"}}, None, "expected data and xgb_version in the flavor xgboost"),
        (
            {"sklearn": SKLEARN},
            [{"type": "datetime", "name": "day", "required": True}],
            "the signature's column 'day' has the type datetime: expected one of boolean, double",
        ),
    ],
)
def test_read_mlflow_of_what_cannot_be_bundled_says_why(
    flavors: Any, inputs: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_mlflow(write_folder(tmp_path, flavors, inputs))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flavors: [sklearn]", "MLmodel:1: field 'flavors': Input should be a valid dictionary"),
        (
            "flavors: {sklearn: null}",
            r"field 'flavors\.sklearn': Input should be a valid dictionary, received",
        ),
        ("signature: {inputs: not json}", r"field 'signature\.inputs': Invalid JSON: .* received 'not json'"),
        ("signature: {inputs: '{}'}", r"field 'signature\.inputs': Input should be a valid list"),
        ("signature: {inputs: '[{}]'}", r"the field 'signature\.inputs\.type' is missing"),
        ("signature: [inputs]", "field 'signature': Input should be"),
    ],
)
def test_read_mlflow_description_of_another_form_is_rejected(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_mlflow(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["/etc/passwd", "../../x.json", "inner/../../x.json", "link.ubj", "a\0b"])
def test_read_mlflow_model_must_be_inside_the_folder(file: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", {"xgboost": XGBOOST | {"data": file}})
    (folder / "link.ubj").symlink_to(tmp_path / "other.ubj")
    with pytest.raises(ConfigurationError, match=r"data of the flavor xgboost .* which leads out of it"):
        read_mlflow(folder)


def test_read_mlflow_model_may_be_in_an_inner_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "real", {"xgboost": XGBOOST | {"data": "data/model.ubj"}})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read_mlflow(tmp_path / "link").file == tmp_path / "link" / "data" / "model.ubj"


def test_read_mlflow_of_another_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder without a file MLmodel"):
        read_mlflow(tmp_path)

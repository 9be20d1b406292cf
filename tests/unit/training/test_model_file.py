# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import typer
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from typer.testing import CliRunner, Result
from xgboost import XGBClassifier

from tidegate.bundle import METRICS, verify
from tidegate.errors import BundleError, ConfigurationError, DataError
from tidegate.trust.policy import Policy
from tidegate_training.bundling.persistence import to_skops
from tidegate_training.cli import bundle
from tidegate_training.model_file import read_model, read_rows

pytestmark = pytest.mark.usefixtures("bare_bundles")

FRAME = pd.DataFrame({"size": np.arange(40), "city": ["Oslo", "Rome"] * 20, "y": [0, 1] * 20})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model as pickle and as archive, and its rows."""
    encoder = ColumnTransformer([("c", OneHotEncoder(), ["city"])], remainder="passthrough")
    model = make_pipeline(encoder, LogisticRegression()).fit(
        FRAME[["size", "city"]].astype({"size": float}), FRAME["y"]
    )
    joblib.dump(model, tmp_path / "model.joblib")
    (tmp_path / "model.skops").write_bytes(to_skops(model))
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(bundle)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("options", [["model.joblib", "--allow-pickle"], ["model.skops"]])
def test_bundle_command_seals_the_model_of_a_file(options: list[str], folder: Path) -> None:
    file, *flags = options
    out = folder / "bundle"
    result = run(
        *(folder / file, "--data", folder / "rows.csv", "--target", "y", "--name", "own", "--out", out),
        *("-o", "json", *flags),
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["parity"]["verdict"] == "equal"
    sealed = verify(out, document["digest"])
    assert [str(feature.datatype) for feature in sealed.contract.features] == ["FP64", "BYTES"]
    assert json.loads(sealed.read(METRICS))["sample"]["accuracy"] == 1.0


@pytest.mark.parametrize(("threshold", "value"), [("0.75", 0.75), ("{metric: f1}", 0.5)])
def test_bundle_command_threshold_is_as_in_train_yaml(threshold: str, value: float, folder: Path) -> None:
    result = run(
        *(folder / "model.skops", "--data", folder / "rows.csv", "--target", "y", "--name", "own"),
        *("--out", folder / "bundle", "--threshold", threshold, "--positive-label", "0", "-o", "json"),
    )
    assert result.exit_code == 0, result.output
    decision = verify(folder / "bundle").contract.threshold
    assert decision is not None
    assert decision.positive_label == 0
    assert decision.value == pytest.approx(value, abs=0.01)


def test_bundle_command_text_describes_the_bundle(folder: Path) -> None:
    arguments = ("--data", folder / "rows.csv", "--target", "y", "--name", "own", "--out", folder / "bundle")
    result = run(folder / "model.skops", *arguments)
    for words in ("sample    accuracy 1", "compiled  equal", verify(folder / "bundle").digest):
        assert words in result.output


def test_bundle_command_rejects_a_name_before_it_opens_the_model(folder: Path) -> None:
    result = run(folder / "model.joblib", "--data", folder / "rows.csv", "--name", "My Model")
    assert isinstance(result.exception, ConfigurationError)
    assert "'My Model' is not a model's name" in str(result.exception)


@pytest.mark.parametrize(
    ("name", "words"),
    [("model.joblib", "add --allow-pickle"), ("model.h5", "not a model that can be bundled")],
)
def test_read_model_rejects_other_files(name: str, words: str, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_model(folder / name, Policy(), allow_pickle=False)


def test_read_model_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    for name in ("model.pkl", "model.skops"):
        (tmp_path / name).write_bytes(b"not a model")
        with pytest.raises((ConfigurationError, BundleError), match="cannot be"):
            read_model(tmp_path / name, Policy(), allow_pickle=True)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_model(tmp_path / "none.pkl", Policy(), allow_pickle=True)


def write_mlflow(folder: Path, version: str = sklearn.__version__, file: str = "model.joblib") -> Path:
    """Describe the model of a folder as MLflow does; the signature has whole numbers."""
    inputs = [{"type": "long", "name": "size"}, {"type": "string", "name": "city"}]
    flavor = {"pickled_model": file, "serialization_format": "cloudpickle", "sklearn_version": version}
    description = {"flavors": {"sklearn": flavor}, "signature": {"inputs": json.dumps(inputs)}}
    (folder / "MLmodel").write_text(yaml.safe_dump(description))
    return folder


def test_bundle_command_seals_the_model_of_an_mlflow_folder(folder: Path) -> None:
    arguments = ("--data", folder / "rows.csv", "--target", "y", "--name", "own", "--out", folder / "bundle")
    result = run(write_mlflow(folder), *arguments, "--allow-pickle")
    assert result.exit_code == 0, result.output
    datatypes = [str(feature.datatype) for feature in verify(folder / "bundle").contract.features]
    assert datatypes == ["INT64", "BYTES"], "those of the signature"


def test_read_model_mlflow_pickle_needs_permission_and_version(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="add --allow-pickle"):
        read_model(write_mlflow(folder), Policy(), allow_pickle=False)
    with pytest.raises(
        ConfigurationError, match=r"saved with sklearn 1\.2\.0, and this .* install that version, or"
    ):
        read_model(write_mlflow(folder, "1.2.0"), Policy(), allow_pickle=True)
    with pytest.raises(ConfigurationError, match=r"model\.pt is not a model that can be bundled"):
        read_model(write_mlflow(folder, file="model.pt"), Policy(), allow_pickle=True)


@pytest.mark.parametrize(("version", "accepted"), [("1.7.6", True), ("99.0.0", False)])
def test_read_model_mlflow_booster_may_be_older(version: str, accepted: bool, tmp_path: Path) -> None:
    XGBClassifier(n_estimators=2).fit(FRAME[["size"]], FRAME["y"]).save_model(tmp_path / "model.ubj")
    flavor = {"data": "model.ubj", "xgb_version": version}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {"xgboost": flavor}}))
    if accepted:
        assert read_model(tmp_path, Policy(), allow_pickle=False).columns == ["size"]
    else:
        with pytest.raises(ConfigurationError, match="install that version or a newer one"):
            read_model(tmp_path, Policy(), allow_pickle=False)


def test_read_model_archive_may_hold_a_booster(tmp_path: Path) -> None:
    model = XGBClassifier(n_estimators=2).fit(FRAME[["size"]], FRAME["y"])
    (tmp_path / "model.skops").write_bytes(to_skops(model))
    read = read_model(tmp_path / "model.skops", Policy(), allow_pickle=False)
    assert isinstance(read.estimator, XGBClassifier)


def test_read_rows_has_the_model_s_columns_in_their_order(folder: Path) -> None:
    X, y = read_rows(str(folder / "rows.csv"), "y", ["city", "size"])
    assert list(X.columns) == ["city", "size"]
    assert X["size"].dtype == np.float64
    assert y.tolist() == FRAME["y"].tolist()
    X, y = read_rows(str(folder / "rows.csv"), None, None)
    assert list(X.columns) == ["size", "city", "y"]
    assert y is None


def test_read_rows_has_declared_types(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("code,n,ok,a b\n0100,1,true,1\n0200,2,,2\n")
    file = str(tmp_path / "rows.csv")
    dtypes = {"code": "object", "n": "int32", "a b": "float32"}
    X, _ = read_rows(file, None, ["code", "n", "a_b"], dtypes)
    assert X["code"].tolist() == ["0100", "0200"]
    assert [str(dtype) for dtype in X.dtypes] == ["object", "int32", "float32"]
    with pytest.raises(DataError, match="column 'ok' has no value in row 2"):
        read_rows(file, None, ["ok"])
    with pytest.raises(DataError, match="column 'ok' has no value in row 2"):
        read_rows(file, None, ["ok"], {"ok": "bool"})
    (tmp_path / "rows.csv").write_text("n\n1\n\n2.5\n")
    with pytest.raises(DataError, match="'n' has missing values or fractions: expected whole numbers"):
        read_rows(file, None, None, {"n": "int64"})


@pytest.mark.parametrize("declared", [True, False], ids=["by column", "matrix"])
@pytest.mark.parametrize(
    ("dtype", "texts", "words"),
    [
        ("int64", ["1.7", "2"], "'n' has missing values or fractions: expected whole numbers, as .* int64"),
        ("int64", ["1", "NA"], "'n' has missing values or fractions: expected whole numbers, as .* int64"),
        ("int32", ["5", "3000000000"], "'n' has 3000000000 in row 2: expected a value that int32 holds"),
        ("int32", ["-3000000000"], "'n' has -3000000000 in row 1: expected a value that int32 holds"),
        ("bool", ["true", "2"], "has the text '2' in row 2: expected true or false"),
    ],
)
def test_read_rows_rejects_what_a_type_does_not_hold(
    dtype: str, texts: list[str], words: str, declared: bool, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("\n".join(["n", *texts]))
    with pytest.raises(DataError, match=words):
        read_rows(str(tmp_path / "rows.csv"), None, None, *([{"n": dtype}] if declared else [None, dtype]))


def test_read_rows_of_parquet_are_no_booleans_if_not_0_or_1(tmp_path: Path) -> None:
    file = str(tmp_path / "rows.parquet")
    pd.DataFrame({"n": [0, 1, 2]}).to_parquet(file)
    with pytest.raises(DataError, match="'n' has 2 in row 3: expected a value that bool holds"):
        read_rows(file, None, None, None, "bool")


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("object", ["007", "12"]), ("int64", [7, 12]), ("int32", [7, 12]), ("float32", [7.0, 12.0])],
)
def test_read_rows_of_a_matrix_have_its_type(dtype: str, values: list[object], tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("n\n007\n12\n")
    X, _ = read_rows(str(tmp_path / "rows.csv"), None, None, None, dtype)
    assert (X["n"].tolist(), str(X["n"].dtype)) == (values, dtype)


def test_read_rows_names_a_missing_column(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no column 'age': expected age .* received size, city, y"):
        read_rows(str(folder / "rows.csv"), "y", ["age"])

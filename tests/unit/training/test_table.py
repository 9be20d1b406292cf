# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest
from moto.server import ThreadedMotoServer
from tidegate_training.source import read
from tidegate_training.table import make_table

from tests.support.training import configuration
from tidegate.contract import Datatype
from tidegate.errors import ConfigurationError, DataError, NotFoundError

GOOD = ["a,b,y", *(f"{row},{row}.5,{'yes' if row % 3 else 'no'}" for row in range(12))]


def table_of(folder: Path, content: str | bytes, **fields: Any):
    file = folder / "data.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    config = configuration(**({"data": {"path": "data.csv"}, "target": "y"} | fields))
    return make_table(read(config.data, folder), config)


def lines(*replaced: tuple[int, str]) -> str:
    """The good file with some lines replaced, by number from 0."""
    content = list(GOOD)
    for index, line in replaced:
        content[index] = line
    return "\n".join(content) + "\n"


def test_columns_become_the_types_of_the_contract(tmp_path: Path):
    table = table_of(tmp_path, "n,f,b,t,y\n1,1.5,true,x,0\n2,,false,,1\n3,2.5,true,z,1\n4,1,true,z,0\n")
    assert table.datatypes == {
        "n": Datatype.INT64,
        "f": Datatype.FP32,
        "b": Datatype.BOOL,
        "t": Datatype.BYTES,
    }
    assert [column.dtype for column in table.columns.values()] == [np.int64, np.float32, np.bool_, object]
    assert table.columns["t"].tolist() == ["x", "", "z", "z"]
    assert table.missing("f").tolist() == [False, True, False, False]
    assert table.missing("t").tolist() == [False, True, False, False]
    assert not table.is_matrix


def test_features_of_one_type_are_a_matrix(tmp_path: Path):
    table = table_of(tmp_path, lines(), features={"overrides": {"a": {"datatype": "float32"}}})
    batch = table.batch(np.array([2, 0]))
    assert batch.for_sklearn().tolist() == [[2.0, 2.5], [0.0, 0.5]]


def test_parquet_and_csv_with_the_same_values_make_the_same_table(tmp_path: Path):
    from_csv = table_of(tmp_path, lines())
    pd.read_csv(tmp_path / "data.csv").to_parquet(tmp_path / "data.parquet")
    config = configuration(data={"path": "data.parquet"}, target="y")
    from_parquet = make_table(read(config.data, tmp_path), config)
    assert from_csv.datatypes == from_parquet.datatypes
    assert all((from_csv.columns[name] == from_parquet.columns[name]).all() for name in from_csv.columns)
    assert (from_csv.target == from_parquet.target).all()


def test_a_file_address_is_read_through_the_store_library(tmp_path: Path):
    (tmp_path / "data.csv").write_text(lines())
    config = configuration(data={"path": (tmp_path / "data.csv").as_uri()}, target="y")
    assert read(config.data, Path("elsewhere")).rows == 12


def test_an_object_is_read_from_a_bucket(monkeypatch: pytest.MonkeyPatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="data")
        client.put_object(Bucket="data", Key="loans/data.csv", Body=lines().encode())
        here = configuration(data={"path": "s3://data/loans/data.csv"}, target="y")
        assert read(here.data, Path("elsewhere")).rows == 12
        gone = configuration(data={"path": "s3://data/loans/gone.csv"}, target="y")
        with pytest.raises(NotFoundError, match=r"does not hold s3://data/loans/gone\.csv"):
            read(gone.data, Path("elsewhere"))
    finally:
        server.stop()


def test_the_order_of_features_is_the_data_s_and_not_the_list_s(tmp_path: Path):
    table = table_of(tmp_path, lines(), features={"keep": ["b", "a"]})
    assert list(table.columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (["true", "false", "true", "true"], [1, 0, 1, 1]),
        (["0", "2", "2", "0"], [0, 2, 2, 0]),
        (["0.0", "1.0", "1.0", "0.0"], [0, 1, 1, 0]),
        (["x", "y", "y", "x"], ["x", "y", "y", "x"]),
    ],
)
def test_classes_are_whole_numbers_or_texts(tmp_path: Path, target: list[str], expected: list[Any]):
    rows = "".join(f"{index},{label}\n" for index, label in enumerate(target))
    assert table_of(tmp_path, "a,y\n" + rows).target.tolist() == expected


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", r"data\.csv is empty"),
        ("a,b,y\n", r"data\.csv has a header and no rows"),
        (b"a,y\n\xff\xfe,1\n", "the column 'a' has text that is not in UTF-8"),
        (lines((3, "1,2,yes,extra")), r"ragged in line 4: expected 3 values as in the header, found 4"),
        (lines((3, "1,yes")), r"ragged in line 4: expected 3 values as in the header, found 2"),
        (lines((0, "a,a,y")), "more than one column called 'a'"),
        (lines((0, "a,,y")), "a column without a name: column 2"),
        (lines((0, "a,input-0,y")), "a column is called 'input-0', which is the name of the matrix"),
        (lines((0, f"a,{'x' * 257},y")), "has 257 characters, and that of a feature has at most 256"),
        (lines((5, "4,4.5,")), "the column 'y' is missing in row 5"),
        (lines((5, "4,oops,no")), "the column 'b' has the text 'oops' in row 5, and most"),
        (lines((5, "4,inf,no")), "the column 'b' has inf in row 5: expected a finite number"),
        (
            lines((5, "4,1e39,no")),
            r"the column 'b' has 1e\+39 in row 5: expected a number that float32 can hold",
        ),
        ("a,y\n1,x\n2,x\n", "is 'x' in every row"),
        ("a,y\n1,0.5\n2,0.7\n", "is the task a regression"),
        ("a,y\n1,q\n2,w\n3,e\n4,r\n", "has 4 classes in 4 rows"),
        ("a,y\n2021-01-01,x\n2021-01-02,y\n", "has times, of which no feature can be made"),
    ],
)
def test_bad_data_is_told_with_file_column_and_row(tmp_path: Path, content: str | bytes, sentence: str):
    with pytest.raises(DataError, match=sentence):
        table_of(tmp_path, content)


@pytest.mark.parametrize(
    ("column", "datatype", "sentence"),
    [
        (["1", "2", "x", "y"], "float32", "has the text 'x' in row 3: expected a number"),
        (["1", "2.5", "3", "4"], "int64", r"has 2\.5 in row 2: expected a whole number of type INT64"),
        (["1", "", "3", "4"], "int64", "has nan in row 2"),
        (["1", "2", "3000000000", "4"], "int32", "has 3000000000 in row 3"),
        (
            ["1", "16777217", "3", "4"],
            "float32",
            r"has 16777217 in row 2: expected whole numbers up to 2\^24",
        ),
        (["0", "1", "2", "1"], "bool", "has 2 in row 3: expected true or false"),
        (["true", "", "false", "true"], "bool", "in row 2: expected true or false"),
        (["0.5", "1", "2", "1"], "text", "which are no categories"),
    ],
)
def test_a_value_that_its_column_s_type_cannot_hold_is_told(
    tmp_path: Path, column: list[str], datatype: str, sentence: str
):
    rows = "".join(f"{value},{index % 2},{index}\n" for index, value in enumerate(column))
    with pytest.raises(DataError, match=sentence):
        table_of(tmp_path, "a,y,z\n" + rows, features={"overrides": {"a": {"datatype": datatype}}})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"target": "z"}, r"'target': data\.csv has no column 'z': expected one of a, b, y"),
        ({"features": {"drop": ["z"]}}, r"'features\.drop\.0': data\.csv has no column 'z'"),
        ({"features": {"keep": ["a", "y"]}}, "cannot be a feature as well"),
        ({"features": {"drop": ["a", "b"]}}, "no feature is left"),
        (
            {"features": {"overrides": {"z": {}}}},
            r"'features\.overrides\.z': it is no feature: expected some of a, b",
        ),
        (
            {"features": {"overrides": {"a": {"handle_unknown": "accept"}}}},
            r"'features\.overrides\.a\.handle_unknown': the column is INT64 and has no categories",
        ),
        ({"positive_label": "maybe"}, "'positive_label': expected one of two classes, received 'maybe'"),
        ({"data": {"path": "gone.csv"}}, r"gone\.csv does not exist"),
        ({"data": {"path": "data"}}, "set data.format"),
    ],
)
def test_a_configuration_that_does_not_fit_the_data_is_told(
    tmp_path: Path, fields: dict[str, Any], sentence: str
):
    with pytest.raises(ConfigurationError, match=sentence):
        table_of(tmp_path, lines(), **fields)


def test_a_text_column_with_too_many_texts_is_no_category(tmp_path: Path):
    rows = "".join(f"name-{index},{index % 2}\n" for index in range(1001))
    with pytest.raises(DataError, match="has 1001 different texts"):
        table_of(tmp_path, "a,y\n" + rows)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a,y\n1,x\n2,z\n", "is no number, so there is no regression"),
        ("a,y\n1,2\n2,2\n", "is 2 in every row"),
        ("a,y\n1,2\n2,inf\n", "has inf in row 2"),
        ("a,y\n1,2\n2,-1e39\n", r"has -1e\+39 in row 2: expected a number of at most 3\.4e\+38"),
        ("a,y\n1.5,2\n2,1e300\n", r"has 1e\+300 in row 2: .*as answers are FP32"),
    ],
)
def test_a_regression_needs_numbers_that_differ_and_can_be_answered(
    tmp_path: Path, content: str, sentence: str
):
    with pytest.raises(DataError, match=sentence):
        table_of(tmp_path, content, task="regression", algorithm={"name": "Ridge"})


def test_64_bit_features_allow_larger_targets_as_far_as_they_can_be_squared(tmp_path: Path):
    fields = {"task": "regression", "algorithm": {"name": "Ridge"}, "float_dtype": "float64"}
    assert table_of(tmp_path, "a,y\n1.5,2\n2,1e39\n", **fields).target.tolist() == [2, 1e39]
    with pytest.raises(DataError, match=r"has 1e\+151 in row 2: .*as answers are FP64"):
        table_of(tmp_path, "a,y\n1.5,2\n2,1e151\n", **fields)


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path):
    (tmp_path / "data.parquet").write_bytes(b"a,b\n1,2\n")
    config = configuration(data={"path": "data.parquet"}, target="b")
    with pytest.raises(DataError, match="is no Parquet file"):
        read(config.data, tmp_path)


def test_the_digest_of_a_bundled_data_set_names_its_values_and_its_labels():
    plain, named = (
        read(configuration(data={"dataset": "iris", "target_names": names}).data, Path())
        for names in (False, True)
    )
    wine = read(configuration(data={"dataset": "wine"}).data, Path())
    assert plain.sha256 == named.sha256 != wine.sha256
    assert named.columns["target"].values[0] == "setosa"

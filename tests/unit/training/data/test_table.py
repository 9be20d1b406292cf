# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.fitted_models import sklearn_rows
from tests.support.training import configuration, recommendation
from tidegate.contract import Datatype
from tidegate.errors import ConfigurationError, DataError, FieldError
from tidegate_training.data.source import read_source
from tidegate_training.data.table import Table, build_table

VALID = ["a,b,y", *(f"{row},{row}.5,{'yes' if row % 3 else 'no'}" for row in range(12))]


def table_of(folder: Path, content: str | bytes, **fields: Any) -> Table:
    file = folder / "data.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    config = configuration(**({"data": {"path": "data.csv"}, "target": "y"} | fields))
    return build_table(read_source(config.data, folder), config)


def lines(*replaced: tuple[int, str]) -> str:
    """Return the lines of a valid file with some of them replaced, by number from 0."""
    content = list(VALID)
    for index, line in replaced:
        content[index] = line
    return "\n".join(content) + "\n"


def test_build_table_columns_get_the_contract_s_types(tmp_path: Path) -> None:
    table = table_of(tmp_path, "n,f,b,t,y\n1,1.5,true,x,0\n2,,false,,1\n3,2.5,true,z,1\n4,1,true,z,0\n")
    features = table.features
    assert features.datatypes == {
        "n": Datatype.INT64,
        "f": Datatype.FP32,
        "b": Datatype.BOOL,
        "t": Datatype.BYTES,
    }
    assert [column.dtype for column in features.columns.values()] == [np.int64, np.float32, np.bool_, object]
    assert features.columns["t"].tolist() == ["x", "", "z", "z"]
    assert features.missing("f").tolist() == [False, True, False, False]
    assert features.missing("t").tolist() == [False, True, False, False]
    assert not features.is_matrix


def test_feature_table_of_one_type_is_a_matrix(tmp_path: Path) -> None:
    table = table_of(tmp_path, lines(), features={"overrides": {"a": {"datatype": "float32"}}})
    batch = table.features.batch(np.array([2, 0]))
    assert sklearn_rows(batch).tolist() == [[2.0, 2.5], [0.0, 0.5]]


def test_build_table_parquet_and_csv_give_the_same_table(tmp_path: Path) -> None:
    from_csv = table_of(tmp_path, lines())
    pd.read_csv(tmp_path / "data.csv").to_parquet(tmp_path / "data.parquet")
    config = configuration(data={"path": "data.parquet"}, target="y")
    from_parquet = build_table(read_source(config.data, tmp_path), config)
    assert from_csv.features.datatypes == from_parquet.features.datatypes
    for name, column in from_csv.features.columns.items():
        assert (column == from_parquet.features.columns[name]).all()
    assert (from_csv.target == from_parquet.target).all()


def test_build_table_features_have_the_order_of_the_data(tmp_path: Path) -> None:
    table = table_of(tmp_path, lines(), features={"keep": ["b", "a"]})
    assert list(table.features.columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (["true", "false", "true", "true"], [1, 0, 1, 1]),
        (["0", "2", "2", "0"], [0, 2, 2, 0]),
        (["0.0", "1.0", "1.0", "0.0"], [0, 1, 1, 0]),
        (["x", "y", "y", "x"], ["x", "y", "y", "x"]),
    ],
)
def test_build_table_classes_are_integers_or_texts(
    tmp_path: Path, target: list[str], expected: list[Any]
) -> None:
    rows = "".join(f"{index},{label}\n" for index, label in enumerate(target))
    assert table_of(tmp_path, "a,y\n" + rows).target.tolist() == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"data\.csv is empty"),
        ("a,b,y\n", r"data\.csv has a header and no rows"),
        (b"a,y\n\xe9,1\n", r"not encoded in utf-8: line 2 has the byte 0xe9; .*for example cp1252"),
        (lines((3, "1,2,yes,extra")), r"ragged in line 4: expected 3 values as in the header, received 4"),
        (lines((3, "1,yes")), r"ragged in line 4: expected 3 values as in the header, received 2"),
        (lines((0, "a,a,y")), "more than one column called 'a'"),
        (lines((0, "a,,y")), "a column without a name, column 2: name it"),
        (lines((0, "a,input-0,y")), "'input-0', which is the name of the matrix.*rename it"),
        (lines((0, f"a,{'x' * 257},y")), "has 257 characters, expected at most 256.*rename it"),
        (lines((5, "4,4.5,")), "the column 'y' is missing in row 5"),
        (lines((5, "4,oops,no")), "the column 'b' has the text 'oops' in row 5, and most"),
        (lines((5, "4,inf,no")), "the column 'b' has inf in row 5: expected a finite number"),
        (
            lines((5, "4,1e39,no")),
            r"the column 'b' has 1e\+39 in row 5: expected a number that float32 can hold",
        ),
        ("a,y\n1,x\n2,x\n", "'y' is 'x' in every row: expected two"),
        ("a,y\n1,0.5\n2,0.7\n", "is the task a regression"),
        ("a,y\n1,q\n2,w\n3,e\n4,r\n", "has 4 classes in 4 rows"),
        ("a,y\n2021-01-01,x\n2021-01-02,y\n", "the column 'a' has dates or times.*features.drop"),
    ],
)
def test_build_table_invalid_data_is_rejected_with_its_place(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        table_of(tmp_path, content)


@pytest.mark.parametrize(
    ("column", "datatype", "message"),
    [
        (["1", "2", "x", "y"], "float32", "has the text 'x' in row 3: expected a number"),
        (["1", "2.5", "3", "4"], "int64", r"has 2\.5 in row 2: expected a whole number of type INT64"),
        (["1", "", "3", "4"], "int64", "is missing in row 2: expected a whole number of type INT64"),
        (["1", "2", "3000000000", "4"], "int32", "has 3000000000 in row 3"),
        (
            ["1", "16777217", "3", "4"],
            "float32",
            r"has 16777217 in row 2: expected whole numbers up to 2\^24",
        ),
        (["0", "1", "2", "1"], "bool", "has the text '2' in row 3: expected true or false"),
        (["true", "", "false", "true"], "bool", "is missing in row 2: expected true or false"),
    ],
)
def test_build_table_value_outside_its_type_is_rejected(
    tmp_path: Path, column: list[str], datatype: str, message: str
) -> None:
    rows = "".join(f"{value},{index % 2},{index}\n" for index, value in enumerate(column))
    with pytest.raises(DataError, match=message):
        table_of(tmp_path, "a,y,z\n" + rows, features={"overrides": {"a": {"datatype": datatype}}})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "z"}, r"'target': data\.csv has no column 'z', expected one of a, b, y"),
        ({"features": {"drop": ["z"]}}, r"'features\.drop\.0': data\.csv has no column 'z'"),
        ({"features": {"keep": ["a", "y"]}}, r"'features\.keep\.1': 'y' is the target .*remove it"),
        ({"features": {"drop": ["a", "b"]}}, "'features': no feature is left"),
        (
            {"features": {"overrides": {"z": {}}}},
            r"'features\.overrides\.z': 'z' is not a feature, expected one of a, b",
        ),
        (
            {"features": {"overrides": {"a": {"handle_unknown": "accept"}}}},
            r"'features\.overrides\.a\.handle_unknown': the column is INT64 .*datatype: text",
        ),
        (
            {"features": {"overrides": {"b": {"categorical": True}}}},
            r"'features\.overrides\.b\.categorical': the column is FP32, .*datatype: int64 or text",
        ),
        (
            {"positive_label": "maybe"},
            "'positive_label': expected one of two classes, received 'maybe'.*'no', 'yes'",
        ),
    ],
)
def test_build_table_contradicting_configuration_is_rejected(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        table_of(tmp_path, lines(), **fields)


def test_build_table_too_many_categories_are_rejected(tmp_path: Path) -> None:
    rows = "".join(f"name-{index},{index % 2}\n" for index in range(1001))
    with pytest.raises(DataError, match=r"'a' has 1001 different values, .*free_text: true"):
        table_of(tmp_path, "a,y\n" + rows)
    table = table_of(tmp_path, "a,y\n" + rows, features={"overrides": {"a": {"free_text": True}}})
    assert table.features.columns["a"][1000] == "name-1000"


def test_build_table_integers_are_categories_if_declared(tmp_path: Path) -> None:
    options = {"categorical": True, "handle_unknown": "accept"}
    table = table_of(tmp_path, lines(), features={"overrides": {"a": options}})
    assert table.features.datatypes["a"] is Datatype.INT64
    rows = "".join(f"{index},{index % 2}\n" for index in range(1001))
    with pytest.raises(DataError, match="'a' has 1001 different values, expected at most 1000"):
        table_of(tmp_path, "a,y\n" + rows, features={"overrides": {"a": options}})


def test_build_table_order_has_every_category(tmp_path: Path) -> None:
    content = "a,y\nlow,1\nhigh,0\n,1\nmedium,0\n"
    order = ["low", "medium", "high"]
    table = table_of(tmp_path, content, features={"overrides": {"a": {"order": order}}})
    assert table.features.columns["a"].tolist() == ["low", "high", "", "medium"]
    options = {"order": ["low", "high"]}
    with pytest.raises(DataError, match=r"'a' has medium in row 4: expected one of low, high, .*'order'"):
        table_of(tmp_path, content, features={"overrides": {"a": options}})
    table_of(tmp_path, content, features={"overrides": {"a": options | {"handle_unknown": "accept"}}})


def test_build_table_dates_become_iso_8601(tmp_path: Path) -> None:
    content = "a,b,y\n2024-02-29,2024-02-29 10:30+02:00,1\n,2024-03-01,0\n"
    overrides = {"a": {"datatype": "date"}, "b": {"datatype": "datetime"}}
    columns = table_of(tmp_path, content, features={"overrides": overrides}).features.columns
    assert columns["a"].tolist() == ["2024-02-29", ""]
    assert columns["b"].tolist() == ["2024-02-29T08:30:00", "2024-03-01T00:00:00"]
    with pytest.raises(DataError, match=r"'b' has 2024-02-29T08:30:00.* in row 1: expected a date without"):
        table_of(tmp_path, content, features={"overrides": overrides | {"b": {"datatype": "date"}}})
    with pytest.raises(DataError, match="'a' has dates or times: set datatype: date or datetime"):
        table_of(tmp_path, content, features={"overrides": {"b": {"datatype": "datetime"}}})
    with pytest.raises(DataError, match="'a' has the text 'x' in row 1: expected a date as YYYY-MM-DD"):
        table_of(tmp_path, "a,y\nx,1\n2024-01-01,0\n", features={"overrides": {"a": {"datatype": "date"}}})
    with pytest.raises(FieldError, match="the column is BYTES and has no categories"):
        table_of(
            tmp_path, content, features={"overrides": {"a": overrides["a"] | {"handle_unknown": "accept"}}}
        )


def test_build_table_parquet_timestamps_become_iso_8601(tmp_path: Path) -> None:
    times = pd.to_datetime(["2024-02-29T10:30:00.25+02:00", None])
    days = [pd.Timestamp("2024-02-29").date(), None]
    pd.DataFrame({"a": times, "b": days, "y": [0, 1]}).to_parquet(tmp_path / "data.parquet")
    overrides = {"a": {"datatype": "datetime"}, "b": {"datatype": "date"}}
    config = configuration(data={"path": "data.parquet"}, target="y", features={"overrides": overrides})
    columns = build_table(read_source(config.data, tmp_path), config).features.columns
    assert columns["a"].tolist() == ["2024-02-29T08:30:00.250000", ""]
    assert columns["b"].tolist() == ["2024-02-29", ""]


def test_build_table_order_reads_digits_as_texts(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a,y\n03,1\n10,0\n", features={"overrides": {"a": {"order": ["10", "03"]}}})
    assert table.features.columns["a"].tolist() == ["03", "10"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,y\n1,x\n2,z\n", "'y' has the text 'x' in row 1: expected a number"),
        ("a,y\n1,2\n2,2\n", "'y' is 2 in every row"),
        ("a,y\n1,2\n2,inf\n", "has inf in row 2"),
        ("a,y\n1,2\n2,-1e39\n", r"has -1e\+39 in row 2: expected a number of at most 3\.4e\+38"),
        ("a,y\n1.5,2\n2,1e300\n", r"has 1e\+300 in row 2: .*the output is FP32 .*another unit"),
    ],
)
def test_build_table_invalid_regression_target_is_rejected(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        table_of(tmp_path, content, task="regression", algorithm={"name": "Ridge"})


def test_build_table_float64_allows_targets_up_to_1e150(tmp_path: Path) -> None:
    fields = {"task": "regression", "algorithm": {"name": "Ridge"}, "float_dtype": "float64"}
    assert table_of(tmp_path, "a,y\n1.5,2\n2,1e39\n", **fields).target.tolist() == [2, 1e39]
    with pytest.raises(DataError, match=r"has 1e\+151 in row 2: .*the output is FP64"):
        table_of(tmp_path, "a,y\n1.5,2\n2,1e151\n", **fields)


def test_build_table_column_that_is_left_out_may_hold_anything(tmp_path: Path) -> None:
    table = pa.Table.from_arrays(
        [
            pa.array(range(8), pa.int64()),
            pa.array([b"\xff"] * 8),
            pa.array([2**63] * 8, pa.uint64()),
            pa.array([1] * 8),
            pa.array([2] * 8),
            pa.array([3] * 8),
            pa.array(["x", "z"] * 4),
        ],
        names=["a", "raw", "large", "twice", "twice", "", "y"],
    )
    parquet.write_table(table, tmp_path / "data.parquet")
    fields: dict[str, Any] = {"data": {"path": "data.parquet"}, "target": "y"}

    def features(**options: Any) -> list[str]:
        config = configuration(**fields, features=options)
        return list(build_table(read_source(config.data, tmp_path), config).features.columns)

    assert features(keep=["a"]) == features(drop=["raw", "large", "twice", ""]) == ["a"]
    for options, message in [
        ({"drop": ["raw", "large", "twice"]}, "a column without a name, column 6"),
        ({"keep": ["twice"]}, "more than one column called 'twice'"),
        ({"keep": ["raw"]}, "the column 'raw' has values of the type binary"),
        ({"keep": ["large"]}, "the column 'large' has a whole number beyond the range of INT64"),
    ]:
        with pytest.raises(DataError, match=message):
            features(**options)


@pytest.mark.parametrize("name", [None, "customer"])
def test_build_table_index_of_pandas_is_rejected_by_name(tmp_path: Path, name: str | None) -> None:
    frame = pd.DataFrame({"a": range(8), "y": ["x", "z"] * 4})
    frame.sample(frac=1, random_state=0).rename_axis(name).to_parquet(tmp_path / "data.parquet")
    column = name or "__index_level_0__"
    fields: dict[str, Any] = {"data": {"path": "data.parquet"}, "target": "y"}
    with pytest.raises(DataError, match=f"the column '{column}' is the index of a pandas data frame"):
        build_table(read_source(configuration(**fields).data, tmp_path), configuration(**fields))
    config = configuration(**fields, features={"keep": ["a", column]})
    assert column in build_table(read_source(config.data, tmp_path), config).features.columns


def test_build_table_declared_text_keeps_spelling_and_gaps(tmp_path: Path) -> None:
    content = "flag,code,day,y\ntrue,0100,2021-03-01,0\n,7,,1\nfalse,0100,2021-03-01,1\ntrue,7,,0\n"
    overrides = {name: {"datatype": "text"} for name in ("flag", "code", "day")}
    features = table_of(tmp_path, content, features={"overrides": overrides}).features
    assert features.columns["flag"].tolist() == ["true", "", "false", "true"]
    assert features.columns["code"].tolist() == ["0100", "7", "0100", "7"]
    assert features.columns["day"].tolist() == ["2021-03-01", "", "2021-03-01", ""]
    assert features.missing("flag").tolist() == [False, True, False, False]


def test_build_table_numbers_that_lose_zeros_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'0100' in row 1, .*set datatype: text"):
        table_of(tmp_path, "code,y\n0100,0\n7,1\n")


def test_build_table_classes_keep_their_zeros(tmp_path: Path) -> None:
    assert table_of(tmp_path, "a,y\n1,007\n2,10\n3,007\n4,10\n").target.tolist() == ["007", "10", "007", "10"]


def test_build_table_threshold_of_three_classes_is_rejected(tmp_path: Path) -> None:
    rows = "".join(f"{index},{index % 3}\n" for index in range(30))
    with pytest.raises(ConfigurationError, match=r"'threshold': expected two classes, and .* has 3"):
        table_of(tmp_path, "a,y\n" + rows, threshold=0.3)


def interactions_of(folder: Path, content: str, **fields: Any) -> Table:
    (folder / "interactions.csv").write_text(content)
    config = recommendation(**fields)
    return build_table(read_source(config.data, folder), config)


def test_build_table_repeated_interactions_are_merged(tmp_path: Path) -> None:
    content = "user,item,weight,time\nann,7,1,3\nann,7,2,1\nben,8,1,2\n"
    table = interactions_of(tmp_path, content)
    assert table.features.columns["user"].tolist() == ["ann", "ben"]
    assert (table.target.tolist(), table.target.dtype) == ([7, 8], np.int64)
    assert table.times is not None
    assert table.times.tolist() == [1, 2]
    assert table.weights is not None
    assert table.weights.tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user,item,weight,time,day\na,x,1,1,2\n", "expected one feature, the user .*received user, day"),
        ("user,item,weight,time\na,x,1,1\n,y,1,2\n", "'user' is missing in row 2: expected the user of each"),
        ("user,item,weight,time\n1.5,x,1,1\n", "'user' is FP32, and users are texts or whole numbers"),
        ("user,item,weight,time\na,1.5,1,1\n", "numbers with fractions, which cannot be items"),
        ("user,item,weight,time\na,x,-1,1\n", "expected a sample weight of 0 or more"),
    ],
)
def test_build_table_invalid_interactions_are_rejected(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigurationError, DataError), match=message):
        interactions_of(tmp_path, content)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.stub_server import make_contract
from tidegate.contract import Datatype, Feature
from tidegate.errors import DataError
from tidegate_loadtests import payload
from tidegate_loadtests.payload import read_payload

CONTRACT = make_contract().model_copy(
    update={
        "features": (
            Feature(name="width", datatype=Datatype.FP32, missing=True),
            Feature(name="count", datatype=Datatype.INT64),
            Feature(name="open", datatype=Datatype.BOOL),
            Feature(name="colour", datatype=Datatype.BYTES, categories=("red",), missing=True),
        )
    }
)


def test_payload_has_the_rows_in_the_order_of_the_features(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = {
        "time_seconds": [0, 1],
        "colour": ["red", None],
        "open": [True, False],
        "count": [2.0, 3.0],
        "width": [None, 1],
    }
    pq.write_table(pa.table(columns), path)
    assert read_payload(path, CONTRACT) == ((None, 2, True, "red"), (1.0, 3, False, None))


def test_payload_is_read_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("width,count,open,colour\n,2,true,red\n1.5,3,false,12\n")
    assert read_payload(path, CONTRACT) == ((None, 2, True, "red"), (1.5, 3, False, "12"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("width,count,open\n1,2,true\n", ["one column per feature", "none for 'colour'"]),
        ("width,count,open,colour\n", ["from 1 to 500,000 rows of 4 values", "received 0"]),
        ("width,count,open,colour\nx,2,true,a\n", ["row 1, column 'width'", "FP32", "'x'"]),
        ("width,count,open,colour\n1,2.5,true,a\n", ["row 1, column 'count'", "INT64", "2.5"]),
        ("width,count,open,colour\n1,,true,a\n", ["row 1, column 'count'", "INT64", "None"]),
        ("width,count,open,colour\n1,2,7,a\n", ["row 1, column 'open'", "BOOL", "7"]),
        ("", ["cannot be read", "correct 'payload.file'"]),
    ],
)
def test_file_without_the_contracts_rows_is_rejected(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_payload(path, CONTRACT)
    for part in ("rows.csv", *expected):
        assert part in str(error.value)


def test_payload_with_too_many_values_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "MAX_VALUES", 8)
    path = tmp_path / "rows.csv"
    path.write_text("width,count,open,colour\n" + "1,2,true,red\n" * 3)
    with pytest.raises(DataError, match=r"from 1 to 2 rows of 4 values, received 3"):
        read_payload(path, CONTRACT)

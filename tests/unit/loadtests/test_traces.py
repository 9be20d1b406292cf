# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_loadtests.traces import Trace


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_trace_counts_from_its_first_request(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"trace.{suffix}"
    if suffix == "csv":
        path.write_text("rows,time_seconds,other\n1,7.5,x\n20,8,y\n1,8,z\n")
    else:
        pq.write_table(pa.table({"rows": [1, 20, 1], "time_seconds": [7.5, 8, 8], "other": [1, 2, 3]}), path)
    trace = Trace.read(path)
    assert trace.time.tolist() == [0, 0.5, 0.5]
    assert trace.rows is not None
    assert trace.rows.tolist() == [1, 20, 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rows\n1\n", ["a column 'time_seconds'", "none"]),
        ("time_seconds\n", ["at least one request"]),
        ("time_seconds\n2\n1\n", ["ascending times", "received 1 after 2"]),
        ("time_seconds\nx\n", ["column 'time_seconds'", "a number in every line"]),
        ("time_seconds\n1\nnan\n", ["column 'time_seconds'", "a number in every line"]),
        ("time_seconds,rows\n1,0\n", ["column 'rows'", "from 1 to 10000", "received 0"]),
        ("time_seconds,rows\n1,1.5\n", ["column 'rows'", "integers", "received 1.5"]),
        ("", ["cannot be read"]),
    ],
)
def test_file_that_is_no_trace_is_rejected(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"trace\.csv") as error:
        Trace.read(path)
    for part in expected:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("name", "expected"), [("trace.txt", "ends with .csv or .parquet"), ("a.csv", "cannot")]
)
def test_path_without_a_trace_is_rejected(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Trace.read(tmp_path / name)


@settings(deadline=None, max_examples=50)
@given(content=st.binary(max_size=80), suffix=st.sampled_from(["csv", "parquet"]))
def test_any_file_is_a_trace_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    path.write_bytes(content)
    try:
        trace = Trace.read(path)
    except ValueError:
        return
    assert len(trace.time) > 0

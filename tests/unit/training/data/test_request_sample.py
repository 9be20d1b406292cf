# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tidegate.errors import ConfigurationError, DataError
from tidegate_training.data.request_sample import is_folder, read_request_sample


def write(file: Path, **columns: list[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), file)


def write_rows(file: Path, ids: list[str], times: list[int], labels: list[str], digest: str = "17c3") -> None:
    write(file, id=ids, time=times, digest=[digest] * len(ids), label=labels)


def test_rows_of_all_files_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    write_rows(tmp_path / "date=2026-02-02" / "a.parquet", ["r-3"], [3], ["no"])
    write_rows(tmp_path / "date=2026-02-03" / "b.parquet", ["r-2", "r-1"], [2, 1], ["no", "yes"])
    (tmp_path / "notes.txt").write_text("no sample")
    source = read_request_sample(f"file://{tmp_path}/", "17c3")
    assert source.column("id").convert("text").values.tolist() == ["r-1", "r-2", "r-3"]
    assert source.column("label").convert("text").values.tolist() == ["yes", "no", "no"]


def test_files_of_another_sensitivity_lack_columns(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.parquet", ["r-1"], [1], ["no"])
    write(tmp_path / "b.parquet", id=["r-2"], time=[2], digest=["17c3"], label=["yes"], age=[40.0])
    source = read_request_sample(str(tmp_path), "17c3")
    assert source.column("label").convert("text").values.tolist() == ["no", "yes"]
    assert source.column("age").convert("float64").missing.tolist() == [True, False]


def test_first_row_of_an_id_is_kept(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.parquet", ["r-1", "r-2"], [5, 1], ["late", "x"])
    write_rows(tmp_path / "b.parquet", ["r-1"], [2], ["first"])
    source = read_request_sample(str(tmp_path), "17c3")
    assert source.column("label").convert("text").values.tolist() == ["x", "first"]


def test_sample_of_another_bundle_is_rejected(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.parquet", ["r-1"], [1], ["no"], digest="88d1")
    with pytest.raises(DataError, match="has outputs of the bundle 88d1, expected 17c3: name the folder"):
        read_request_sample(str(tmp_path), "17c3")


def test_file_without_the_columns_is_rejected(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", id=["r-1"], label=["no"])
    with pytest.raises(DataError, match=r"a\.parquet has no column 'time' and is not of a request sample"):
        read_request_sample(str(tmp_path), "17c3")


def test_folder_without_files_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no Parquet file: expected the folder of a request"):
        read_request_sample(str(tmp_path), "17c3")


def test_folder_is_told_from_a_file(tmp_path: Path) -> None:
    assert is_folder("s3://samples/iris/")
    assert is_folder(str(tmp_path))
    assert not is_folder("s3://samples/predictions.parquet")
    assert not is_folder(str(tmp_path / "predictions.csv"))

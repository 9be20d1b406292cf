# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import make_samples
from tidegate.errors import TidegateError
from tidegate_loadtests import samples as samples_module
from tidegate_loadtests.samples import SampleBuffer, Samples, SampleWriter, read_samples

TIMES = st.floats(0, 100_000)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "intended_start": TIMES,
            "connection_free": TIMES,
            "sent": TIMES,
            "completed": TIMES,
            "status": st.integers(0, 599),
            "protocol": st.sampled_from(["v1", "v2", "v2-binary", "grpc"]),
            "rows": st.integers(1, 1000),
            # numpy removes trailing zero characters of a text
            "error": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
        }
    ),
    max_size=8,
)


def record(rows: list[dict[str, Any]]) -> Samples:
    buffer = SampleBuffer()
    for row in rows:
        buffer.append(**row)
    return buffer.take()


def one_line(error: str | None) -> str:
    return "" if error is None else " ".join(error.split()) or "failed"


def assert_equal(samples: Samples, rows: list[dict[str, Any]]) -> None:
    assert len(samples) == len(rows)
    assert samples.error.tolist() == [one_line(row["error"]) for row in rows]
    for name in ("intended_start", "connection_free", "sent", "completed", "status", "protocol", "rows"):
        assert getattr(samples, name).tolist() == [row[name] for row in rows]


@settings(deadline=None)  # it writes a file
@given(st.lists(ROWS, max_size=4))
def test_samples_written_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[dict[str, Any]]]
) -> None:
    path = tmp_path_factory.mktemp("samples") / "samples.parquet"
    with SampleWriter(path) as writer:
        for batch in batches:
            writer.write(record(batch))
    read = [row for samples in read_samples(path) for row in zip(*columns(samples), strict=True)]
    assert read == [row for batch in batches for row in zip(*columns(record(batch)), strict=True)]


def columns(samples: Samples) -> list[list[Any]]:
    return [getattr(samples, name).tolist() for name in Samples.__slots__]


@given(ROWS)
def test_samples_as_bytes_are_equal(rows: list[dict[str, Any]]) -> None:
    assert_equal(Samples.from_bytes(record(rows).to_bytes()), rows)


def test_sample_buffer_returns_each_sample_once() -> None:
    buffer = SampleBuffer()
    assert len(buffer.take()) == 0
    row = {"connection_free": 0.0, "sent": 1.0, "completed": 2.0, "status": 200, "protocol": "v1", "rows": 1}
    buffer.append(intended_start=1.0, error=None, **row)
    assert (len(buffer.take()), len(buffer.take())) == (1, 0)


def test_samples_are_written_and_read_in_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples_module, "ROW_GROUP_ROWS", 10)
    path = tmp_path / "samples.parquet"
    partial = tmp_path / "samples.parquet.partial"
    with SampleWriter(path) as writer:
        empty = partial.stat().st_size
        writer.write(make_samples([0.0] * 9))
        assert partial.stat().st_size == empty
        writer.write(make_samples([1.0] * 16))
        assert partial.stat().st_size > empty
        writer.write(make_samples([2.0] * 3))
    assert [len(samples) for samples in read_samples(path)] == [10, 10, 5, 3]


def test_samples_of_an_interrupted_writer_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples_module, "ROW_GROUP_ROWS", 10)
    path, partial = tmp_path / "samples.parquet", tmp_path / "samples.parquet.partial"

    def write_until_interrupted() -> None:
        with SampleWriter(path) as writer:
            writer.write(make_samples([0.0] * 10))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_until_interrupted()
    gc.collect()  # pyarrow's writer writes a footer when it is collected
    assert not path.exists()
    with pytest.raises(TidegateError, match="partial is not a complete file of samples: "):
        list(read_samples(partial))


@pytest.mark.parametrize("content", [None, b"", b"intended_start,sent\n1,2\n"])
def test_samples_of_another_file_are_rejected(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "samples.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TidegateError, match=r"samples\.parquet is not a complete file of samples: "):
        list(read_samples(path))


def test_samples_with_other_columns_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    pq.write_table(pa.table({"time": [1.0]}), path)
    with pytest.raises(TidegateError, match=r"expected the columns intended_start .* received time \(double"):
        list(read_samples(path))


def test_send_delay_excludes_schedule_and_busy_connection() -> None:
    samples = make_samples([1.0] * 4, sent=[1.030] * 4, connection_free=[0.5, 1.0, 1.010, 1.030])
    assert samples.send_delay_ms == pytest.approx([30, 30, 20, 0])


def test_samples_selected_keep_their_columns_together() -> None:
    samples = make_samples([1.0, 2.0, 3.0], error=["", "late", ""], protocol=["v1", "v2", "grpc"])
    selected = samples.select(np.array([False, True, True]))
    assert selected.intended_start.tolist() == [2.0, 3.0]
    assert selected.protocol.tolist() == ["v2", "grpc"]
    assert selected.successful.tolist() == [False, True]


def test_samples_share_the_text_of_equal_errors(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    with SampleWriter(path) as writer:
        writer.write(make_samples([1.0, 2.0, 3.0], error=["", "x" * 100_000, "x" * 100_000]))
    (samples,) = read_samples(path)
    assert samples.error[1] is samples.error[2]
    assert samples.error.itemsize == 8  # a reference, and not room for the longest text

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pyarrow import parquet

from tests.support.contracts import MATRIX
from tidegate.batch import Batch
from tidegate.errors import ConfigurationError, StoreError
from tidegate.objects import Objects
from tidegate_serving.config import RequestSampleOptions, SampledSensitivity
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.observability import request_sample
from tidegate_serving.observability.request_sample import FILE_SECONDS, HourlyLimit, RequestSample, RowBuffer
from tidegate_serving.observability.sample_file import SampledRows, SamplePath
from tidegate_serving.observability.sampling import MAX_REQUEST_ROWS

PATH = SamplePath("test", "17c3", "pod-1", "5f0c")
FIRST_FILE = "test/17c3/date=1970-01-01/pod-1-5f0c-000001.parquet"
NOW = 1_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class BrokenStore(Objects):
    """Fails, after it is released, on each write."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.released = threading.Event()
        self.failed = threading.Event()

    def write(self, path: str, content: bytes | Path, mode: str) -> None:
        assert self.released.wait(50)
        self.failed.set()
        raise StoreError("the store failed; check the credentials.")


@contextmanager
def sampling(
    folder: Path, store: Objects | None = None, clock: Callable[[], float] = lambda: NOW, **options: Any
) -> Iterator[RequestSample]:
    sample = RequestSample(
        RequestSampleOptions(str(folder), **{"rate": 1.0} | options), MATRIX, PATH, store, clock
    )
    yield sample
    sample.close(50)


def rows(n_rows: int) -> ResultSlice:
    labels = np.arange(n_rows) % 2
    outputs = {"label": labels, "probabilities": np.stack([1 - labels, labels], axis=1).astype(np.float32)}
    return ResultSlice(BatchResult(Batch({"input-0": np.ones((n_rows, 2), np.float32)}), outputs), 0, n_rows)


def counts(sample: RequestSample) -> dict[str, float]:
    [family, _] = sample.collect()
    return {it.labels["outcome"]: it.value for it in family.samples if it.value}


def test_rows_are_written_when_the_sample_closes(tmp_path: Path) -> None:
    with sampling(tmp_path) as sample:
        sample.record("r-1", rows(1))
        sample.record("r-2", rows(2))
    table = parquet.read_table(tmp_path / FIRST_FILE).drop_columns(["time", "digest"])
    assert table.to_pydict() == {
        "id": ["r-1", "r-2/0", "r-2/1"],
        "label": [0, 0, 1],
        "probability": [0, 0, 1],
    }
    assert counts(sample) == {"written": 3}
    registry = CollectorRegistry()
    registry.register(sample)
    exposed = generate_latest(registry).decode()
    assert 'tidegate_request_sample_rows_total{outcome="buffer_full"} 0.0' in exposed
    size = (tmp_path / FIRST_FILE).stat().st_size
    assert f"tidegate_request_sample_written_bytes_total {float(size)}" in exposed


def test_full_file_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_sample, "FILE_ROWS", 3)
    store = BrokenStore(str(tmp_path))
    store.released.set()
    with sampling(tmp_path, store) as sample:
        sample.record("r-1", rows(3))
        assert store.failed.wait(50)


@pytest.mark.parametrize("request_id", [None, "", "é", "x" * 257, "a b"])
def test_request_without_a_valid_id_is_not_sampled(request_id: str | None, tmp_path: Path) -> None:
    with sampling(tmp_path) as sample:
        sample.record(request_id, rows(1))
    assert list(tmp_path.iterdir()) == []


def test_first_rows_of_a_large_request_are_sampled(tmp_path: Path) -> None:
    with sampling(tmp_path) as sample:
        sample.record("r-1", rows(MAX_REQUEST_ROWS + 5))
    assert counts(sample) == {"written": MAX_REQUEST_ROWS}


def test_failing_store_drops_rows_and_pauses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_sample, "FILE_ROWS", 1)
    monkeypatch.setattr(request_sample, "MAX_BUFFERED_ROWS", 2)
    store, clock = BrokenStore(str(tmp_path)), Clock()
    with sampling(tmp_path, store, clock) as sample:
        sample.record("r-1", rows(1))
        for number in range(3):  # while the thread waits for the store, two rows fit into the buffer
            sample.record(f"s-{number}", rows(1))
        store.released.set()
    assert counts(sample) in ({"write_failed": 3, "buffer_full": 1}, {"write_failed": 2, "buffer_full": 2})
    assert [record.message for record in caplog.records] == [
        "The request sample is not written: the store failed; check the credentials."
    ]
    failed = counts(sample)["write_failed"]
    sample.record("r-2", rows(2))
    assert counts(sample)["write_failed"] == failed + 2
    clock.now += request_sample.PAUSE_SECONDS
    sample.record("r-3", rows(1))
    assert counts(sample)["write_failed"] == failed + 2


def test_file_that_a_lost_attempt_has_stored_is_written(tmp_path: Path) -> None:
    """The store's client tries again, and meets the object of its first attempt."""

    class Repeating(Objects):
        def write(self, path: str, content: bytes | Path, mode: Any) -> None:
            super().write(path, content, mode)
            super().write(path, content, mode)

    with sampling(tmp_path, Repeating(str(tmp_path))) as sample:
        sample.record("r-1", rows(3))
    assert counts(sample) == {"written": 3}


def test_store_that_does_not_respond_does_not_hold_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = BrokenStore(str(tmp_path))
    with sampling(tmp_path, store) as sample:
        sample.record("r-1", rows(1))
        sample.close(0)
        assert f"are lost: {store.uri} accepted no file in 0 s" in caplog.text
        store.released.set()


def test_limit_per_hour_drops_files_until_the_next_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    with sampling(tmp_path, None, clock, hourly_bytes=0) as sample:
        sample.record("r-1", rows(1))
    assert list(tmp_path.iterdir()) == []
    sample.record("r-2", rows(1))
    assert counts(sample) == {"hourly_limit": 2}
    clock.now = 3600.0
    sample.record("r-3", rows(1))
    assert counts(sample) == {"hourly_limit": 2}


def test_hourly_limit_counts_the_files_of_the_hour() -> None:
    limit = HourlyLimit(10)
    admitted = [limit.admit(n_bytes, seconds) for n_bytes, seconds in ((6, 0), (5, 10), (4, 3599), (5, 3600))]
    assert admitted == [True, False, True, True]


def sampled(n_rows: int, n_bytes: int = 0) -> SampledRows:
    return SampledRows("r", 0, n_rows, {"a": np.zeros(n_bytes, np.int8)})


def test_buffer_waits_for_a_file_or_its_time() -> None:
    clock = Clock()
    buffer = RowBuffer(clock)
    assert buffer.seconds_until_file() is None
    assert buffer.add(sampled(1))
    clock.now += 100
    assert buffer.add(sampled(1))
    assert buffer.seconds_until_file() == FILE_SECONDS - 100
    clock.now += FILE_SECONDS
    assert buffer.seconds_until_file() == 0
    assert len(buffer.take()) == 2
    assert buffer.take() == []
    assert buffer.seconds_until_file() is None


@pytest.mark.parametrize(
    "file", [sampled(request_sample.FILE_ROWS), sampled(1, request_sample.FILE_BYTES)], ids=["rows", "bytes"]
)
def test_buffer_gives_the_requests_of_one_file(file: SampledRows) -> None:
    clock = Clock()
    buffer = RowBuffer(clock)
    assert buffer.add(file)
    clock.now += 100
    assert buffer.add(sampled(1, 1))
    assert buffer.seconds_until_file() == 0
    assert buffer.take() == [file]
    assert buffer.seconds_until_file() == FILE_SECONDS


@pytest.mark.parametrize(
    "most",
    [sampled(request_sample.MAX_BUFFERED_ROWS), sampled(1, request_sample.MAX_BUFFERED_BYTES)],
    ids=["rows", "bytes"],
)
def test_full_buffer_takes_no_more_rows(most: SampledRows) -> None:
    buffer = RowBuffer(Clock())
    assert buffer.add(most)
    assert not buffer.add(sampled(1, 1))
    assert buffer.take() == [most]
    assert buffer.add(most)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "http://samples"}, "'http://samples' is not a store: expected one of file://, s3://"),
        ({"url": "file://relative"}, "expected file:///… with an absolute path"),
    ],
)
def test_url_that_is_no_store_is_rejected(options: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        RequestSample(RequestSampleOptions(**options), MATRIX, PATH)


def test_sensitivity_decides_the_columns(tmp_path: Path) -> None:
    with sampling(tmp_path, sensitivity=SampledSensitivity.INTERNAL) as sample:
        sample.record("r-1", rows(1))
    assert parquet.read_table(tmp_path / FIRST_FILE).column_names[-2:] == ["a", "b"]

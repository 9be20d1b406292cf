# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import errno
import json
from pathlib import Path

import pytest

from tidegate_training.termination import (
    MAX_MESSAGE_BYTES,
    format_result,
    is_in_pod,
    parse_reference,
    write_termination_message,
)

REFERENCE = "s3://models/iris@sha256:" + "0" * 64
METRICS = {"test": {"f1": 0.9, "roc_auc": None}}


def test_format_result_is_one_line_of_json() -> None:
    line = format_result(REFERENCE, "0" * 64, METRICS)
    assert "\n" not in line
    assert json.loads(line) == {"reference": REFERENCE, "digest": "0" * 64, "metrics": METRICS}


def test_format_result_leaves_out_metrics_above_the_limit() -> None:
    line = format_result(REFERENCE, "0" * 64, {"test": {f"metric-{index}": 0.5 for index in range(500)}})
    assert len(line.encode()) < MAX_MESSAGE_BYTES
    assert json.loads(line) == {"reference": REFERENCE, "digest": "0" * 64, "metrics": {}}


@pytest.mark.parametrize(
    ("lines", "reference"),
    [
        ([format_result(REFERENCE, "0" * 64, METRICS)], REFERENCE),
        (["", "reading data", "7", "{}", '["x"]', format_result(REFERENCE, "0" * 64, {})], REFERENCE),
        ([format_result(None, "0" * 64, METRICS)], None),
        ([f"Reference: {REFERENCE}"], None),
        (["[" * 100_000], None),
        ([], None),
    ],
)
def test_parse_reference_reads_the_result_among_other_lines(lines: list[str], reference: str | None) -> None:
    assert parse_reference(lines) == reference


def test_write_termination_message_existing_file_is_written(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    file.write_text("older")
    write_termination_message("{}", file)
    assert file.read_text() == "{}\n"


def test_write_termination_message_missing_file_is_not_created(tmp_path: Path) -> None:
    write_termination_message("{}", tmp_path / "termination-log")
    write_termination_message("{}", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_write_termination_message_full_disk_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "termination-log"
    file.touch()
    monkeypatch.setattr(Path, "write_text", fail)
    write_termination_message("{}", file)


def test_write_termination_message_read_only_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "termination-log"
    file.touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    write_termination_message("{}", file)
    assert file.read_bytes() == b""


@pytest.mark.parametrize("address", [None, "10.0.0.1"])
def test_is_in_pod_reads_the_environment(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if address is not None:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", address)
    assert is_in_pod() == (address is not None)

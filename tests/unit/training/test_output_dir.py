# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tidegate.bundle import MANIFEST
from tidegate.errors import ConfigurationError
from tidegate_training.output_dir import (
    replace_directory,
    validate_output_dir,
    validate_report_dir,
    write_report_dir,
)


def fill(folder: Path, content: str) -> Path:
    """Write a folder that passes for a bundle."""
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_text(content)
    return folder


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_validate_output_dir_missing_parents_leaves_no_trace(tmp_path: Path) -> None:
    validate_output_dir(tmp_path / "a" / "b" / "c")
    assert entries(tmp_path) == []


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below", "/proc/no/where", "/", "x" * 300])
def test_validate_output_dir_unwritable_place_is_rejected(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(ConfigurationError, match="choose an") as caught:
        validate_output_dir(tmp_path / place)
    assert str(tmp_path / place) in str(caught.value)
    assert (tmp_path / "file").read_text() == "keep me"
    assert entries(tmp_path) == ["file"]


def test_replace_directory_full_disk_keeps_the_previous_bundle(tmp_path: Path) -> None:
    fill(tmp_path / "bundle", "before")
    with (
        pytest.raises(ConfigurationError, match=r"bundle: No space left on device; choose another folder"),
        replace_directory(tmp_path / "bundle"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert entries(tmp_path) == ["bundle"]
    assert (tmp_path / "bundle" / MANIFEST).read_text() == "before"


@pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit, OSError])
def test_replace_directory_stop_in_swap_keeps_previous_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: type[BaseException]
) -> None:
    place = fill(tmp_path / "bundle", "before")
    rename = Path.rename

    def stop(self: Path, target: Path) -> Path:
        if self.name == "bundle" and target == place and not place.exists() and (self / "new").exists():
            raise reason
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises((reason, ConfigurationError)), replace_directory(place) as folder:
        (folder / "new").touch()
    assert entries(tmp_path) == ["bundle"]
    assert (place / MANIFEST).read_text() == "before"


def test_replace_directory_link_or_working_dir_stays_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "real", "before")
    (tmp_path / "link").symlink_to("real")
    with replace_directory(tmp_path / "link") as folder:
        fill(folder, "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / MANIFEST).read_text() == "after"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with replace_directory(Path()) as folder:
        fill(folder, "here")
    assert (tmp_path / "empty" / MANIFEST).read_text() == "here"
    assert entries(tmp_path) == ["empty", "link", "real"]


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("bundle", "cannot be in the bundle's directory"),
        ("bundle/report", "cannot be in the bundle's directory"),
        ("other", "other is a bundle, which the report would damage"),
        ("file", "The report cannot be written to .*file: Not a directory; choose another folder"),
        ("file/below", "The report cannot be written to .*below: Not a directory"),
    ],
)
def test_validate_report_dir_unusable_place_is_rejected(tmp_path: Path, place: str, problem: str) -> None:
    (tmp_path / "file").write_text("keep me")
    fill(tmp_path / "other", "sealed")
    with pytest.raises(ConfigurationError, match=problem):
        validate_report_dir(tmp_path / place, tmp_path / "bundle")
    assert entries(tmp_path) == ["file", "other"]


def test_validate_report_dir_tries_the_folder_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume is writable below its mount, and the folder next to the mount is not."""
    tried: list[Path] = []
    directory = tempfile.TemporaryDirectory

    def record(prefix: str, dir: Path) -> Any:
        tried.append(dir)
        return directory(prefix=prefix, dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", record)
    (tmp_path / "volume").mkdir()
    validate_report_dir(tmp_path / "volume", tmp_path / "bundle")
    validate_report_dir(tmp_path / "new" / "report", tmp_path / "bundle")
    assert tried == [tmp_path / "volume", tmp_path]


def test_write_report_dir_replaces_its_files_alone(tmp_path: Path) -> None:
    validate_report_dir(tmp_path / "a" / "report", tmp_path / "bundle")
    write_report_dir(tmp_path / "a" / "report", {"report.html": b"first", "metrics.json": b"{}"})
    (tmp_path / "a" / "report" / "notes").write_text("keep me")
    write_report_dir(tmp_path / "a" / "report", {"report.html": b"second"})
    assert entries(tmp_path / "a" / "report") == ["metrics.json", "notes", "report.html"]
    assert (tmp_path / "a" / "report" / "report.html").read_bytes() == b"second"

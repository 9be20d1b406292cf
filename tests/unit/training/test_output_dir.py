# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import errno
import os
from pathlib import Path

import pytest
from tidegate_training.output_dir import check, replacing

from tidegate.bundle import MANIFEST
from tidegate.errors import ConfigurationError


def fill(folder: Path, content: str) -> Path:
    """A folder that passes for a bundle."""
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_text(content)
    return folder


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_place_in_folders_that_are_not_there_yet_is_looked_at_without_a_trace(tmp_path: Path):
    check(tmp_path / "a" / "b" / "c")
    assert entries(tmp_path) == []


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below", "/proc/no/where", "/", "x" * 300])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, place: str):
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(ConfigurationError, match="choose an"):
        check(tmp_path / place)
    assert (tmp_path / "file").read_text() == "keep me"
    assert entries(tmp_path) == ["file"]


def test_a_full_disk_is_told_and_leaves_the_bundle_of_before(tmp_path: Path):
    fill(tmp_path / "bundle", "before")
    with (
        pytest.raises(ConfigurationError, match=r"bundle: No space left on device; choose another folder"),
        replacing(tmp_path / "bundle"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert entries(tmp_path) == ["bundle"]
    assert (tmp_path / "bundle" / MANIFEST).read_text() == "before"


@pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit, OSError])
def test_a_stop_between_the_two_renames_leaves_the_bundle_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: type[BaseException]
):
    place = fill(tmp_path / "bundle", "before")
    rename = Path.rename

    def stop(self: Path, target: Path) -> Path:
        if self.name == "bundle" and target == place and not place.exists() and (self / "new").exists():
            raise reason
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises((reason, ConfigurationError)), replacing(place) as folder:
        (folder / "new").touch()
    assert entries(tmp_path) == ["bundle"]
    assert (place / MANIFEST).read_text() == "before"


def test_a_link_and_the_folder_one_is_in_are_filled_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(tmp_path / "real", "before")
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as folder:
        fill(folder, "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / MANIFEST).read_text() == "after"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with replacing(Path()) as folder:
        fill(folder, "here")
    assert (tmp_path / "empty" / MANIFEST).read_text() == "here"
    assert entries(tmp_path) == ["empty", "link", "real"]

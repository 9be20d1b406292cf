# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidegate_training.provenance import collect_provenance

STARTED = datetime(2020, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    return subprocess.run(
        ["git", *identity, "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_collect_provenance_outside_a_repository_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_IMAGE", "training@sha256:1")
    provenance = collect_provenance(tmp_path, STARTED)
    assert (provenance["commit"], provenance["dirty"]) == (None, None)
    assert provenance["image"] == "training@sha256:1"
    assert provenance["started"] == "2020-01-02T03:04:05+00:00"
    assert datetime.fromisoformat(provenance["finished"]) > STARTED


def test_collect_provenance_in_a_repository_has_commit_and_state(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "first")
    clean = collect_provenance(tmp_path, STARTED)
    assert clean["commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert clean["dirty"] is False
    (tmp_path / "train.yaml").touch()
    assert collect_provenance(tmp_path, STARTED)["dirty"] is True


def test_collect_provenance_without_git_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collect_provenance(tmp_path, STARTED)["commit"] is None

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Fake programs on a PATH of their own, which record their calls."""

from pathlib import Path

import pytest


class Programs:
    """Fake programs in one folder.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._calls = folder / "calls"

    def add(self, name: str, body: str = "", folder: Path | None = None) -> None:
        """Create a program that records its call, and then runs the lines of a shell.

        Args:
            name: The program's name.
            body: The lines.
            folder: Its folder; that of the others by default.
        """
        path = (folder or self.folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "$KUBECONFIG {name} $*" >>{self._calls}\n{body}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """Return the calls so far, each with the value of KUBECONFIG first, and forget them."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return lines


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return Programs(folder)

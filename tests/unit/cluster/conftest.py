# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from tools.cluster.layout import Layout
from tools.cluster.state import Record


@pytest.fixture
def home_layout() -> Layout:
    """A layout whose paths are only compared."""
    return Layout.from_environment({"HOME": "/home/one", "XDG_CACHE_HOME": "/cache"})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A layout in a temporary folder."""
    return Layout(cache=tmp_path / "cache", state=tmp_path / "state" / "cluster")


@pytest.fixture
def record(layout: Layout) -> Record:
    return Record.create(layout.record)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate_training.bundling.bundle import installed_versions

OUT = Path(__file__).parents[2] / "out" / "examples"


@pytest.fixture(scope="session")
def summary() -> Iterator[dict[str, Any]]:
    """The measurements by example; they are written to `out/examples/summary.json` at the end of the run."""
    measured: dict[str, Any] = {}
    yield measured
    OUT.mkdir(parents=True, exist_ok=True)
    document = {"python": platform.python_version(), "versions": installed_versions(), "examples": measured}
    (OUT / "summary.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


@pytest.fixture
def out(example: str) -> Path:
    """The empty folder of an example's files."""
    folder = OUT / example
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Servers for the tests of this folder alone; those of the whole suite are one folder above."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import LiveServer, serving
from tidegate.bundle import Bundle


@pytest.fixture
def unused_server(numeric_bundle: Bundle, tmp_path: Path) -> Iterator[LiveServer]:
    """A server that has received no request."""
    with serving(numeric_bundle, tmp_path / "log") as server:
        yield server

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Commands in Go that tests run: promtool, kube-score, h2spec and ghz.

They are built once, into the cache of the test cluster. A build takes minutes without a Go cache, so only
their own targets and ``make e2e`` start one.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from tools.cluster import ClusterError, cache, toolchain
from tools.cluster.layout import Layout
from tools.cluster.progress import Progress
from tools.cluster.toolchain import ToolSet


def find(tool_set: ToolSet, command: str) -> Path | None:
    """Return the path of a built command, or None."""
    folder = toolchain.build_folder(Layout.from_environment(os.environ), tool_set)
    return folder / "bin" / command if folder.exists() else None


def build(tool_set: ToolSet) -> tuple[Path, str]:
    """Return the folder of a set's commands, and the set's version; build it unless the cache has it.

    Raises:
        ClusterError: If it cannot be built.
    """
    layout = Layout.from_environment(os.environ)
    built = toolchain.ensure(layout, cache.runner(layout), Progress(), [tool_set])
    return built.folders[tool_set.name] / "bin", built.versions[tool_set.name]


def build_and_test(tool_set: ToolSet, tests: Path) -> NoReturn:
    """Build a set unless the cache has it, run the tests of a path, and exit with their exit code.

    Tests look for the command when they are imported, so the caller imports none of them.
    """
    try:
        build(tool_set)
    except ClusterError as error:
        sys.exit(f"error: {error}")
    sys.exit(pytest.main([str(tests)]))

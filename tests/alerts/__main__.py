# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``make alerts``: build promtool, unless the cache has it, and run the tests of the rules."""

import sys
from pathlib import Path

import pytest

from tests.alerts import promtool
from tools.cluster import ClusterError

if __name__ == "__main__":
    try:
        promtool.build()
    except ClusterError as error:
        sys.exit(f"error: {error}")
    sys.exit(pytest.main([str(Path(__file__).parent)]))

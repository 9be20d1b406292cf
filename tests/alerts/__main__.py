# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``make alerts``: build promtool, unless the cache has it, and run the tests of the rules."""

from pathlib import Path

from tests.support.go_tool import build_and_test
from tools.cluster.optional_addons import PROMETHEUS

if __name__ == "__main__":
    build_and_test(PROMETHEUS, Path(__file__).parent)

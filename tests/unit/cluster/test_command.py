# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tools.cluster.command import Runner, last_lines
from tools.cluster.errors import ClusterError


def test_run_failed_command_raises_its_last_lines() -> None:
    with pytest.raises(ClusterError, match=r"(?s)ended with code 3.*the reason"):
        Runner().run(["sh", "-c", "echo the reason >&2; exit 3"])


def test_run_missing_command_raises_its_name() -> None:
    with pytest.raises(ClusterError, match="no-such-command was not found"):
        Runner().run(["no-such-command"])


def test_run_command_over_its_timeout_raises() -> None:
    with pytest.raises(ClusterError, match="did not end"):
        Runner().run(["sleep", "30"], timeout=0.1)


def test_last_lines_skips_empty_lines() -> None:
    assert last_lines("a\n\nb\n\nc\n", 2) == "b\nc"

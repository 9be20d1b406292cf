# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import os
import subprocess

from tools.procfs import ProcessStat


def test_parse_name_with_brackets_is_skipped() -> None:
    text = "7 (a) R) b) S 1 7 5 0 -1 0 0 0 0 0 30 12 3 1 20 0 1 0 4242 9000 250 0"
    assert ProcessStat.parse(text) == ProcessStat(
        "S", parent=1, session=5, cpu_ticks=46, start_ticks=4242, resident_pages=250
    )


def test_read_this_process_is_alive() -> None:
    stat = ProcessStat.read(os.getpid())
    assert stat is not None
    assert stat.is_alive
    assert stat.session == os.getsid(0)


def test_read_ended_process_returns_none() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = ProcessStat.read(child.pid)
    assert zombie is not None
    assert not zombie.is_alive
    child.wait()
    assert ProcessStat.read(child.pid) is None

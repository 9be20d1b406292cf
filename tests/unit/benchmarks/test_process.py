# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import os
import sys
from pathlib import Path

import pytest

from benchmarks.environments import PEERS, pins
from benchmarks.process import parse_stat, run, started
from benchmarks.servers import SERVERS
from tidegate.errors import ServerError

CORE = min(os.sched_getaffinity(0))


def test_the_name_of_a_process_may_hold_anything() -> None:
    text = "7 (a) R 1 (b) S 1 7 5 0 -1 0 0 0 0 0 30 12 3 1 20 0 1 0 4242 9000 250 0"
    assert parse_stat(text).session == 5


def test_own_usage_is_read_from_the_kernel_s_own_text() -> None:
    assert parse_stat(Path("/proc/self/stat").read_text()).session == os.getsid(0)


CHILD = """
import os, sys, time
with open(sys.argv[1], "w") as said:
    said.write(f"{os.getpid()} {os.sched_getaffinity(0)}\\n")
time.sleep(600)
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


def runs(pid: str) -> bool:
    """Whether a process runs; one that has ended may stay listed until its reaper looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_server_runs_on_its_core_and_its_children_end_with_it(tmp_path: Path) -> None:
    said = tmp_path / "said"
    argv = [sys.executable, "-c", PARENT, CHILD, said]
    with started(argv, CORE, {}, tmp_path / "log", tmp_path) as server:
        while not said.exists() or not said.read_text().endswith("\n"):
            server.check()
        pid, _, cores = said.read_text().strip().partition(" ")
        assert cores == f"{{{CORE}}}"
        assert server.usage().rss_mb > 5
    while runs(pid):
        pass


def test_a_server_that_has_ended_says_its_last_line(tmp_path: Path) -> None:
    script = "print('first'); print('the port is taken'); raise SystemExit(4)"
    with started([sys.executable, "-c", script], CORE, {}, tmp_path / "log", tmp_path) as server:
        server.process.wait()
        with pytest.raises(ServerError, match="it exited with 4: the port is taken"):
            server.check()


def test_a_generator_s_output_and_cpu_are_its_own() -> None:
    done = run([sys.executable, "-c", "sum(range(3_000_000)); print('done')"], CORE, 60)
    assert done.output == "done\n"
    assert 0 < done.cpu_s <= done.wall_s * 1.1


def test_a_generator_that_fails_says_why() -> None:
    with pytest.raises(ServerError, match=r"exited with 3: no route"):
        run([sys.executable, "-c", "import sys; sys.stderr.write('no route'); sys.exit(3)"], CORE, 60)


def test_a_generator_that_does_not_end_is_ended() -> None:
    with pytest.raises(ServerError, match="did not end within 0 s"):
        run([sys.executable, "-c", "import time; time.sleep(600)"], CORE, 0.2)


def test_of_two_lines_of_a_lock_the_interpreter_s_counts() -> None:
    lock = (
        "numpy==2.4 ; python_full_version < '3.12' \\\n"
        "numpy==2.5 ; python_full_version >= '3.12' \\\n"
        "b[x]==1 \\\n"
    )
    assert pins(lock, (3, 11)) == {"numpy": "2.4", "b": "1"}
    assert pins(lock, (3, 13)) == {"numpy": "2.5", "b": "1"}


@pytest.mark.parametrize("peer", sorted({s.peer for s in SERVERS.values() if s.peer is not None}))
def test_every_peer_runs_the_scikit_learn_that_the_models_are_made_with(peer: str) -> None:
    ours = pins((PEERS.parents[1] / "requirements" / "dev.lock").read_text(), (3, 11))
    theirs = pins((PEERS / peer / "requirements.lock").read_text(), (3, 11))
    assert theirs["scikit-learn"] == ours["scikit-learn"]

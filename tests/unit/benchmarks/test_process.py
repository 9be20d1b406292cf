# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import os
import sys
from pathlib import Path

import pytest

from benchmarks.environments import PEERS, parse_lock
from benchmarks.process import run_generator, start_server
from benchmarks.servers import SERVERS
from tidegate.errors import ServerError
from tools.procfs import ProcessStat

CORE = min(os.sched_getaffinity(0))


CHILD = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getpid()} {os.sched_getaffinity(0)}\\n")
time.sleep(600)
"""
ARBITER = """
import subprocess, sys
worker = [sys.executable, "-c", *sys.argv[1:]]
subprocess.Popen(worker, stdin=subprocess.PIPE, start_new_session=True).wait()
"""
BUSY_WORKER = """
import os, sys, time
sum(range(20_000_000))
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(time.process_time() - 0.02))
os.rename(file.name, sys.argv[1])
sys.stdin.read()  # until the arbiter is ended
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


def runs(pid: str) -> bool:
    """Return whether a process runs; an ended one stays listed until its parent waits for it."""
    stat = ProcessStat.read(int(pid))
    return stat is not None and stat.is_alive


def test_start_server_pins_the_core_and_ends_children(tmp_path: Path) -> None:
    output = tmp_path / "output"
    argv = [sys.executable, "-c", PARENT, CHILD, output]
    with start_server(argv, CORE, {}, tmp_path / "log", tmp_path) as server:
        while not output.exists() or not output.read_text().endswith("\n"):
            server.raise_if_exited()
        pid, _, cores = output.read_text().strip().partition(" ")
        assert cores == f"{{{CORE}}}"
        assert server.usage().rss_mb > 5
    while runs(pid):
        pass


def test_usage_counts_a_worker_in_a_session_of_its_own(tmp_path: Path) -> None:
    output = tmp_path / "output"
    argv = [sys.executable, "-c", ARBITER, BUSY_WORKER, output]
    with start_server(argv, CORE, {}, tmp_path / "log", tmp_path) as server:
        while not output.exists():
            server.raise_if_exited()
        assert server.usage().cpu_s >= float(output.read_text())


def test_start_server_keeps_bytecode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    script = "import sys; raise SystemExit(int(sys.dont_write_bytecode))"
    with start_server([sys.executable, "-c", script], CORE, {}, tmp_path / "log", tmp_path) as server:
        assert server.process.wait() == 0


def test_raise_if_exited_shows_the_last_log_line(tmp_path: Path) -> None:
    script = "print('first'); print('the port is taken'); raise SystemExit(4)"
    with start_server([sys.executable, "-c", script], CORE, {}, tmp_path / "log", tmp_path) as server:
        server.process.wait()
        with pytest.raises(ServerError, match="it exited with 4: the port is taken"):
            server.raise_if_exited()


def test_run_generator_returns_output_and_cpu() -> None:
    done = run_generator([sys.executable, "-c", "sum(range(20_000_000)); print('done')"], CORE, 60)
    assert done.output == "done\n"
    assert 0 < done.cpu_s <= done.wall_s * 1.1


def test_run_generator_failure_shows_its_message() -> None:
    with pytest.raises(ServerError, match=r"exited with 3: no route"):
        run_generator(
            [sys.executable, "-c", "import sys; sys.stderr.write('no route'); sys.exit(3)"], CORE, 60
        )


def test_run_generator_timeout_ends_the_process() -> None:
    with pytest.raises(ServerError, match="did not end within 0 s"):
        run_generator([sys.executable, "-c", "import time; time.sleep(600)"], CORE, 0.2)


def test_parse_lock_takes_the_line_for_the_interpreter() -> None:
    lock = (
        "numpy==2.4 ; python_full_version < '3.12' \\\n"
        "numpy==2.5 ; python_full_version >= '3.12' \\\n"
        "b[x]==1 \\\n"
    )
    assert parse_lock(lock, (3, 11)) == {"numpy": "2.4", "b": "1"}
    assert parse_lock(lock, (3, 13)) == {"numpy": "2.5", "b": "1"}


@pytest.mark.parametrize("peer", sorted({s.peer for s in SERVERS.values() if s.peer is not None}))
def test_peer_lock_has_the_scikit_learn_of_the_models(peer: str) -> None:
    ours = parse_lock((PEERS.parents[1] / "requirements" / "dev.lock").read_text(), (3, 11))
    theirs = parse_lock((PEERS / peer / "requirements.lock").read_text(), (3, 11))
    assert theirs["scikit-learn"] == ours["scikit-learn"]

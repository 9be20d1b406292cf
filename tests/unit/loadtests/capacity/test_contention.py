# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from tidegate_loadtests.capacity.contention import Contention, read_contention


def write_proc(proc: Path) -> None:
    for task, waited in {"7": 1_500_000_000, "8": 500_000_000}.items():
        (proc / "7" / "task" / task).mkdir(parents=True)
        (proc / "7" / "task" / task / "schedstat").write_text(f"9000 {waited} 12\n")
    before_times = "S 1 1 1 0 -1 0 0 0 0 0"
    (proc / "7" / "stat").write_text(f"7 (a (strange) name) {before_times} 100 20 0 0 20 0\n")
    (proc / "stat").write_text(
        "cpu  9999 9999 9999 9999 0 0 0 0 0 0\n"
        "cpu0 200 30 100 5000 7 8 9 40 0 0\n"
        "cpu1 900 900 900 900 0 0 0 0 0 0\n"
    )


def test_contention_is_read_for_the_servers_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate_loadtests.capacity.contention._TICK_SECONDS", 0.01)
    write_proc(tmp_path)
    contention = read_contention(7, {0}, tmp_path)
    assert contention.waited == 2.0
    assert contention.used_by_others == pytest.approx((200 + 30 + 100 - 120) / 100)
    assert contention.stolen == 0.4
    # Two CPUs, of which one was stolen, are kept from half of their work.
    assert read_contention(7, {0, 1}, tmp_path).stolen == 0.2


def test_contention_without_accounting_is_unknown(tmp_path: Path) -> None:
    assert read_contention(7, {0}, tmp_path) == Contention()


@pytest.mark.parametrize(
    ("waited", "used", "expected"),
    [(1.0, 3.0, 0.1), (3.0, 1.0, 0.1), (0.0, 9.0, 0.0), (2.0, -0.1, 0.0), (19.0, 11.0, 1.0)],
)
def test_starvation_needs_waiting_and_other_processes(waited: float, used: float, expected: float) -> None:
    before = Contention(5.0, 7.0)
    after = Contention(5.0 + waited, 7.0 + used)
    assert after.starvation_since(before, 10.0) == pytest.approx(expected)


def test_stolen_time_starves_a_server_that_does_not_wait() -> None:
    before, after = Contention(5.0, 7.0, 1.0), Contention(5.0, 7.0, 1.6)
    assert after.starvation_since(before, 10.0) == pytest.approx(0.06)

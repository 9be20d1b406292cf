# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""CPU limits, as a container has them: a control group with a quota per period of 100 ms."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tidegate.errors import ConfigurationError

_PERIOD_US = 100_000
_ROOT = Path("/sys/fs/cgroup")


@contextmanager
def cpu_limit(pid: int, cpus: float) -> Iterator[None]:
    """Limit a process and its threads to a number of CPUs until the block ends.

    Args:
        pid: The process.
        cpus: CPU seconds per second.

    Raises:
        ConfigurationError: If this user cannot create a control group.
    """
    parent = _ROOT if (_ROOT / "cgroup.controllers").exists() else _ROOT / "cpu"
    group = parent / f"tidegate-bench-{pid}"
    quota_us = round(cpus * _PERIOD_US)
    try:
        group.mkdir()
    except OSError as error:
        raise ConfigurationError(
            f"a CPU limit needs the right to create {group} ({error.strerror}): run as root"
        ) from None
    try:
        if parent is _ROOT:
            (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        group.rmdir()
        raise ConfigurationError(
            f"this machine has no CPU limits: {error.filename}: {error.strerror}"
        ) from None
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have ended
            (parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()

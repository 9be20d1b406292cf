# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io
from collections.abc import Iterator

import pytest

from tools.cluster.errors import ClusterError
from tools.cluster.progress import Progress


class Clock:
    """A clock that only `sleep` advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def reasons(*given: str | None) -> Iterator[str | None]:
    yield from given
    while True:
        yield given[-1]


def test_wait_ends_when_the_probe_returns_none() -> None:
    clock, stream = Clock(), io.StringIO()
    probe = reasons("first", "second", None)
    Progress(stream, clock).wait("it", lambda: next(probe), timeout=10, interval=1, sleep=clock.sleep)
    assert clock.now == 2
    assert "ready: it (2.0 s)" in stream.getvalue()


def test_wait_after_timeout_raises_the_last_reason() -> None:
    clock, stream = Clock(), io.StringIO()
    with pytest.raises(ClusterError, match="Waited 41 s for it: a pod"):
        Progress(stream, clock).wait("it", lambda: "a pod", timeout=40, interval=1, sleep=clock.sleep)
    assert "still waiting for it (15 s): a pod" in stream.getvalue()

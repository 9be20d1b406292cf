# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

from tools.cluster import diagnosis


def event(number: int, kind: str) -> dict[str, Any]:
    involved = {"namespace": "n", "kind": "Pod", "name": f"p{number}"}
    stamp = f"2026-01-01T00:00:{number:02}Z"
    return {"type": kind, "lastTimestamp": stamp, "involvedObject": involved, "reason": "R", "message": "m"}


def test_warnings_returns_only_the_latest() -> None:
    lines = diagnosis.warnings([event(n, "Warning") for n in range(30)] + [event(59, "Normal")])
    assert len(lines) == diagnosis.EVENTS_SHOWN
    assert lines[-1] == "n/Pod/p29: R: m"

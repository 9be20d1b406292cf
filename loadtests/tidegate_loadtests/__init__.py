# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Load tests with a verdict: load a server, check its answers, and say whether the objective was met.

It drives a server over its public endpoints and reads nothing else of it. How the load was made is part of
the result: a campaign whose generator was the bottleneck proves nothing, and says so.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate_loadtests.plan import LoadTest, Objective
    from tidegate_loadtests.runner import run
    from tidegate_loadtests.summary import Summary, summarise
    from tidegate_loadtests.verdict import Verdict, judge

_HOMES = {
    "LoadTest": "tidegate_loadtests.plan",
    "Objective": "tidegate_loadtests.plan",
    "Summary": "tidegate_loadtests.summary",
    "Verdict": "tidegate_loadtests.verdict",
    "judge": "tidegate_loadtests.verdict",
    "run": "tidegate_loadtests.runner",
    "summarise": "tidegate_loadtests.summary",
}

__all__ = ["LoadTest", "Objective", "Summary", "Verdict", "judge", "run", "summarise"]


def __getattr__(name: str) -> Any:
    # Lazily, so that the command line can offer its help without importing what a campaign needs.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)

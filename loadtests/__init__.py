# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Load tests with a verdict: load a server, check its answers, and say whether the objective was met.

It drives a server over its public endpoints and reads nothing else of it. How the load was made is part of
the result: a campaign whose generator was the bottleneck proves nothing, and says so.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadtests.campaign import run
    from loadtests.objective import Verdict, judge
    from loadtests.plan import LoadTest, Objective
    from loadtests.summary import Summary, summarise

_HOMES = {
    "LoadTest": "loadtests.plan",
    "Objective": "loadtests.plan",
    "Summary": "loadtests.summary",
    "Verdict": "loadtests.objective",
    "judge": "loadtests.objective",
    "run": "loadtests.campaign",
    "summarise": "loadtests.summary",
}

__all__ = ["LoadTest", "Objective", "Summary", "Verdict", "judge", "run", "summarise"]


def __getattr__(name: str) -> Any:
    # Lazily, so that the command line can offer its help without importing what a campaign needs.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)

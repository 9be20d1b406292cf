# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Load tests with a verdict: load a server, validate its responses, and decide pass, fail or inconclusive.

The verdict is a pure function of the raw samples, so a recorded campaign can be judged again:

>>> import numpy as np
>>> from tidegate_loadtests import Campaign, Generator, Samples, judge, summarise
>>> campaign = Campaign.model_validate({
...     "phases": [{
...         "name": "load",
...         "duration": 20,
...         "load": {"model": "poisson", "rate": 100},
...         "thresholds": {"max_p99_ms": 50},
...     }]
... })
>>> start = np.arange(2000) / 100
>>> samples = Samples(
...     intended_start=start,
...     connection_free=start - 0.1,
...     sent=start,
...     completed=start + np.where(np.arange(2000) % 50 == 0, 0.060, 0.010),  # 2 % of responses after 60 ms
...     status=np.full(2000, 200),
...     protocol=np.full(2000, "v1"),
...     rows=np.full(2000, 1),
...     error=np.full(2000, ""),
... )
>>> generator = Generator(
...     pinned_cpu=0, utilization_mean=0.2, utilization_max=0.3, run_queue_wait_mean=0.0, saturated_ratio=0.0
... )
>>> verdict = judge(campaign, summarise(campaign, [samples]), [generator])
>>> verdict.outcome
'fail'
>>> print(verdict.reasons[0])
p99 latency in phase 'load': expected at most 50 ms, measured 60 ms: first at 0.5 s

:func:`run` records the samples of a campaign. It uses the server's public endpoints only. The load generator
is part of the measurement: a campaign whose generator was the bottleneck is inconclusive.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate_loadtests.campaign import Campaign, Phase, Thresholds
    from tidegate_loadtests.generator_cpu import Generator
    from tidegate_loadtests.runner import Run, run
    from tidegate_loadtests.samples import Samples, read_samples
    from tidegate_loadtests.summary import CampaignSummary, summarise
    from tidegate_loadtests.verdict import Verdict, judge

_MODULES = {
    "Campaign": "campaign",
    "CampaignSummary": "summary",
    "Generator": "generator_cpu",
    "Phase": "campaign",
    "Run": "runner",
    "Samples": "samples",
    "Thresholds": "campaign",
    "Verdict": "verdict",
    "judge": "verdict",
    "read_samples": "samples",
    "run": "runner",
    "summarise": "summary",
}

__all__ = [
    "Campaign",
    "CampaignSummary",
    "Generator",
    "Phase",
    "Run",
    "Samples",
    "Thresholds",
    "Verdict",
    "judge",
    "read_samples",
    "run",
    "summarise",
]


def __getattr__(name: str) -> Any:
    # Lazily, so that the command line's help does not import the packages of a campaign.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The summary of a run: each scenario, whether it passed, how long it took, and what it measured.

It is on disk, whole, after every scenario, so that a run that is killed leaves what it had. A scenario that
has failed stays in it, with the reason and with what it had measured until then.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SCENARIOS = (
    "training_job",
    "training_job_bad_data",
    "training_job_pod_lost",
    "training_sweep",
    "install_and_ask",
    "kserve_native",
    "autoscale",
    "loadtest_chart",
    "canary_split",
    "promote",
    "rollback",
    "rolling_update",
    "scale_down",
    "node_drain",
    "pod_kill",
    "tampered_bundle",
    "store_down",
    "no_credentials",
    "two_releases",
    "uninstall",
)
"""Every scenario that a whole run has."""


@dataclass
class Scenario:
    """One scenario's outcome."""

    name: str
    passed: bool
    seconds: float
    evidence: dict[str, Any]
    reason: str | None = None


@dataclass
class Summary:
    """A run.

    Args:
        cluster: what it ran on.
        scenarios: in the order in which they ended.
    """

    cluster: dict[str, Any]
    scenarios: list[Scenario] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Put it on disk in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        scenarios = [
            {key: value for key, value in asdict(scenario).items() if value is not None}
            for scenario in self.scenarios
        ]
        document = {"cluster": self.cluster, "scenarios": scenarios}
        partial.write_text(json.dumps(document, indent=2) + "\n")
        partial.replace(path)


def shortcomings(document: Mapping[str, Any], wanted: tuple[str, ...] = SCENARIOS) -> list[str]:
    """Tell which of the wanted scenarios a summary lacks, or has as failed.

    >>> shortcomings({"scenarios": [{"name": "a", "passed": True}]}, ("a", "b"))
    ['b did not run']
    """
    passed = {scenario["name"]: scenario["passed"] for scenario in document["scenarios"]}
    wrong = [f"{name} did not run" for name in wanted if name not in passed]
    return wrong + [f"{name} failed" for name, well in passed.items() if not well]

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The summary of a run: each scenario with its outcome, its duration and its measurements.

It is written completely after each scenario, so that a killed run leaves the results so far. A failed
scenario keeps the measurements until its failure, with the reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class ScenarioResult:
    """The result of one scenario."""

    name: str
    passed: bool
    seconds: float
    evidence: dict[str, Any]
    reason: str | None = None


@dataclass
class Summary:
    """The results of a run.

    Args:
        cluster: The components of the cluster with their versions.
        scenarios: The scenarios in the order of their ends.
    """

    cluster: dict[str, Any]
    scenarios: list[ScenarioResult] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        scenarios = [
            {key: value for key, value in asdict(scenario).items() if value is not None}
            for scenario in self.scenarios
        ]
        document = {"cluster": self.cluster, "scenarios": scenarios}
        partial.write_text(json.dumps(document, indent=2) + "\n")
        partial.replace(path)


def find_failures(document: Mapping[str, Any], required: Sequence[str]) -> list[str]:
    """Return the required scenarios that a summary lacks, and those that failed.

    >>> find_failures({"scenarios": [{"name": "a", "passed": True}]}, ("a", "b"))
    ['b did not run']
    """
    passed = {scenario["name"]: scenario["passed"] for scenario in document["scenarios"]}
    missing = [f"{name} did not run" for name in required if name not in passed]
    return missing + [f"{name} failed" for name, outcome in passed.items() if not outcome]

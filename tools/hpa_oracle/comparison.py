# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The comparison of our decisions with the controller's, decision by decision."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tidegate_loadtests.scaling.hpa import decide
from tools.hpa_oracle.scenario import Decide, Json, replay

MAX_EXAMPLES = 5


@dataclass
class Comparison:
    """The counts of a comparison, and its first differences."""

    scenarios: int = 0
    decisions: int = 0
    differences: int = 0
    changes_of_replicas: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[Json] = field(default_factory=list)

    def add(self, scenario: Json, expected: list[Json], decide: Decide = decide) -> None:
        """Replay a scenario and compare each decision, with the reasons of the three conditions.

        Args:
            scenario: The scenario.
            expected: The controller's decisions.
            decide: The function that decides.
        """
        self.scenarios += 1
        replicas = scenario["replicas"]
        for index, (own, other) in enumerate(zip(replay(scenario, decide), expected, strict=True)):
            self.decisions += 1
            self.changes_of_replicas += other["replicas"] != replicas
            replicas = other["replicas"]
            self.reasons.update(f"{name}: {reason}" for name, reason in _reasons(other))
            if own == other:
                continue
            self.differences += 1
            if len(self.examples) < MAX_EXAMPLES:
                self.examples.append(
                    {"scenario": scenario["id"], "sync": index, "expected": other, "received": own}
                )


def _reasons(decision: Json) -> Iterator[tuple[str, str]]:
    return ((name, reason) for name, reason in decision.items() if isinstance(reason, str) and reason)


def compare(decided: Iterable[tuple[Json, list[Json]]], decide: Decide = decide) -> Comparison:
    """Compare our decisions with the controller's for all scenarios."""
    comparison = Comparison()
    for scenario, decisions in decided:
        comparison.add(scenario, decisions, decide)
    return comparison

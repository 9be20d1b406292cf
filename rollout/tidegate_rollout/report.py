# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a rollout: decision, reasons and evidence, as a JSON document and as an HTML page.

The page is one file without scripts and external links, so it can be mailed, archived and printed. The report
decides nothing: it shows the state and the verdict of the evidence.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from math import isinf
from pathlib import Path
from typing import Any

from tidegate.formatting import format_number, format_percent, format_seconds
from tidegate.pages import render_page
from tidegate_rollout.plot import plot_evidence
from tidegate_rollout.state import Result, RolloutState
from tidegate_rollout.verdict import Check, Verdict, assess, label

VERSION = 1
"""The version of the document; a change that breaks readers raises it."""

_STYLES = {
    Result.PROMOTED: "pass",
    Result.REHEARSED: "pass",
    Result.ABORTED: "fail",
    Result.HELD: "inconclusive",
}
"""By result, the class of the page's headline."""


@dataclass(frozen=True)
class RolloutReport:
    """A rollout that has ended, or is in progress."""

    release: str
    namespace: str
    state: RolloutState

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict of the evidence."""
        return assess(self.state.policy, self.state.evidence)

    @property
    def outcome(self) -> str:
        """The result in one word."""
        return "in progress" if self.state.result is None else self.state.result.value

    @property
    def style(self) -> str:
        """The class of the headline."""
        return "inconclusive" if self.state.result is None else _STYLES[self.state.result]

    @property
    def headline(self) -> str:
        """The decision in one sentence."""
        canary = self.state.evidence.canary
        served = f"The canary served {canary.timed:,} requests of users in the counted time"
        errors = f", {canary.bad:,} of them with server errors" if canary.bad else ""
        return f"{served}{errors}."

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons of a stop, or the conditions that are not met yet."""
        if self.state.result in (Result.PROMOTED, Result.REHEARSED):
            return ()
        return (self.state.reason,) if self.state.reason else self.verdict.reasons

    @cached_property
    def document(self) -> dict[str, Any]:
        """The content of the JSON file."""
        state = self.state
        return {
            "version": VERSION,
            "release": self.release,
            "namespace": self.namespace,
            "result": None if state.result is None else state.result.value,
            "cause": None if state.cause is None else state.cause.value,
            "reasons": list(self.reasons),
            "stable_digest": state.baseline.digest,
            "canary_digest": state.digest,
            "steps": [record.model_dump(mode="json") for record in state.records],
            "verdict": self.verdict.outcome,
            "checks": [_describe_check(check) for check in self.verdict.checks],
            "requests": {
                "canary": asdict(state.evidence.canary),
                "mirrored": asdict(state.evidence.mirrored),
                "stable": asdict(state.evidence.stable),
            },
            "pairs": asdict(state.evidence.pairs),
            "history": [asdict(point) for point in state.evidence.history],
            "policy": state.policy.model_dump(mode="json"),
        }

    def html(self) -> str:
        """Render the page."""
        evidence, policy = self.state.evidence, self.state.policy
        labels = {name: label(name) for point in evidence.history for name in point.progress}
        return render_page(
            Path(__file__).with_name("templates") / "rollout.html.j2",
            {
                "number": format_number,
                "percent": format_percent,
                "seconds": format_seconds,
                "bound": _format_bound,
            },
            {"evidence": plot_evidence(evidence.history, [str(step) for step in policy.steps], labels)},
            report=self,
            state=self.state,
            evidence=evidence,
            policy=policy,
        )


def _describe_check(check: Check) -> dict[str, Any]:
    """Return a check for JSON, which has no infinity: null is an open bound."""
    return asdict(check) | {"interval": [None if isinf(bound) else bound for bound in check.interval]}


def _format_bound(value: float) -> str:
    return "∞" if isinf(value) else format_number(value)

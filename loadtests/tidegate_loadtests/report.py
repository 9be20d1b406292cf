# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The report: the results of a campaign as a JSON document, as an HTML page and as a picture.

The page is one file without scripts and external links, so it can be mailed, archived and printed. The report
computes no metric and decides no verdict.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tidegate.charts import to_svg
from tidegate.formatting import format_number, format_percent, format_seconds
from tidegate.pages import render_page
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.checks import CheckResult
from tidegate_loadtests.generator_cpu import Generator, busiest
from tidegate_loadtests.load_models import Load
from tidegate_loadtests.plots import plot_campaign, plot_distribution, to_captioned_png
from tidegate_loadtests.scaling_checks import StepResponse, replica_counts, terminating_times
from tidegate_loadtests.summary import CampaignSummary, PhaseSummary, Summary
from tidegate_loadtests.timeline.records import Timeline
from tidegate_loadtests.verdict import Verdict

REPORT = "report.html"
VERDICT = "verdict.json"
PLOT = "campaign.png"

VERSION = 1
"""The version of the document; a change that breaks readers raises it."""


@dataclass(frozen=True)
class Report:
    """A finished campaign: model, server, campaign, measurements and verdict."""

    model: str
    digest: str
    started_at: str
    """ISO 8601, in UTC."""
    campaign: Campaign
    summary: CampaignSummary
    generators: tuple[Generator, ...]
    """One per process that made the load."""
    verdict: Verdict
    timeline: Timeline | None = None

    @property
    def url(self) -> str:
        """The server's address; empty if the campaign names none."""
        return self.campaign.target.url or self.campaign.target.grpc_url or ""

    @property
    def generator(self) -> Generator:
        """The busiest generator."""
        return busiest(self.generators)

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """The checks; a check's number is its place."""
        return self.verdict.checks

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        verdict, total = self.verdict, len(self.verdict.checks)
        failed, undecided = len(verdict.with_outcome("fail")), len(verdict.with_outcome("inconclusive"))
        if verdict.defects:
            return "The measurement has a defect, so the campaign neither passes nor fails."
        if failed:
            return f"{failed} of {_plural(total, 'check')} failed."
        if undecided:
            return f"{undecided} of {_plural(total, 'check')} had too little evidence, and none failed."
        return f"{_plural(total, 'check')} passed."

    @cached_property
    def document(self) -> dict[str, Any]:
        """The content of ``verdict.json``."""
        verdict, summary = self.verdict, self.summary
        return {
            "version": VERSION,
            "verdict": verdict.outcome,
            "passed": verdict.outcome == "pass",
            "reasons": list(verdict.reasons),
            "checks": [asdict(check) for check in self.checks],
            "model": {"name": self.model, "digest": self.digest},
            "url": self.url,
            "started_at": self.started_at,
            **_describe_metrics(summary.judged),
            "phases": [_describe_phase(phase) for phase in summary.phases],
            "load_steps": [_describe_step(response) for response in verdict.responses],
            "timeline": None if self.timeline is None else self._describe_timeline(self.timeline),
            "generator": asdict(self.generator),
            "workers": [asdict(one) for one in self.generators if one.worker is not None],
            "campaign": self.campaign.model_dump(mode="json", exclude_none=True),
        }

    def _describe_timeline(self, timeline: Timeline) -> dict[str, Any]:
        gaps = [asdict(gap) for gap in timeline.gaps]
        if not timeline.replicas:
            return {"gaps": gaps}
        end = self.campaign.duration_seconds
        ready = [count for _, count in replica_counts(timeline, "ready").within(0.0, end)]
        desired = [count for _, count in replica_counts(timeline, "desired").within(0.0, end)]
        return {
            "ready_replicas": {"least": min(ready), "most": max(ready), "final": ready[-1]},
            "desired_replicas": {"least": min(desired), "most": max(desired), "final": desired[-1]},
            "replica_seconds": replica_counts(timeline, "current").integral(0.0, end),
            "terminated_pods": len(terminating_times(timeline.pods, end)),
            "gaps": gaps,
        }

    def png(self) -> bytes:
        """Draw the campaign over time, with the verdict and the marked checks in words."""
        captions = [f"{self.model}: {self.verdict.outcome}. {self.headline}", *self.verdict.defects]
        captions += [
            f"{number}  {check}"
            for number, check in enumerate(self.checks, start=1)
            if check.outcome != "pass"
        ]
        draw = plot_campaign(self.campaign, self.summary.series, self.checks, self.timeline)
        return to_captioned_png(draw, captions)

    def html(self) -> str:
        """Render the page."""
        summary = self.summary
        return render_page(
            Path(__file__).with_name("templates") / "report.html.j2",
            {
                "number": format_number,
                "percent": format_percent,
                "seconds": format_seconds,
                "plural": _plural,
                "load": _describe_load,
            },
            {
                "campaign": to_svg(plot_campaign(self.campaign, summary.series, self.checks, self.timeline)),
                "distribution": to_svg(plot_distribution(summary.latency, summary.service_time)),
            },
            report=self,
        )


def _describe_metrics(summary: Summary) -> dict[str, Any]:
    return {
        "requests": summary.requests,
        "failures": summary.failures,
        "failure_ratio": summary.failure_ratio,
        "goodput": summary.goodput,
        "rows_per_second": summary.rows_per_second,
        "latency": asdict(summary.latency),
        "service_time": asdict(summary.service_time),
        "latency_without_send_delay": asdict(summary.latency_without_send_delay),
        "send_delay_p99_ms": summary.send_delay_p99_ms,
        "protocols": {name: asdict(protocol) for name, protocol in summary.protocols.items()},
        "errors": [{"error": error, "count": count} for error, count in summary.errors.items()],
    }


def _describe_phase(phase: PhaseSummary) -> dict[str, Any]:
    bounds = phase.bounds
    return {
        "name": bounds.name,
        "start": bounds.start,
        "end": bounds.end,
        "judged": bounds.judged,
        "late": {f"p{q:g}_ms": count for q, count in phase.metrics.late.items()},
        **_describe_metrics(phase.metrics),
    }


def _describe_step(response: StepResponse) -> dict[str, Any]:
    described = asdict(response)
    step: dict[str, Any] = described.pop("step")
    return step | {"phase": response.step.phase.name} | described


def _describe_load(load: Load) -> str:
    fields = load.model_dump(mode="json", exclude={"model"})
    return ", ".join([load.model, *(f"{name} {_describe_value(value)}" for name, value in fields.items())])


def _describe_value(value: Any) -> str:
    if isinstance(value, list):
        return " → ".join(map(_describe_value, value))
    return format_number(value) if isinstance(value, int | float) else str(value)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

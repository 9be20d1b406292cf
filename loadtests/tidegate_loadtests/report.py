# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The report: what a campaign found, as a document for scripts and as a page for people.

The page is one file with no script and no link out, so that it can be mailed, archived and printed. It
shows what was computed elsewhere and decides nothing.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tidegate_loadtests import plots
from tidegate_loadtests.generator_cpu import Generator, busiest
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.summary import Summary, series
from tidegate_loadtests.verdict import Verdict
from tidegate_loadtests.wording import figure, share

REPORT = "report.html"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Report:
    """A finished campaign: what was asked of whom, what was measured, and what it proves."""

    model: str
    digest: str
    url: str
    began: str
    """When, as ISO 8601 in UTC."""
    plan: LoadTest
    samples: Samples
    summary: Summary
    generators: tuple[Generator, ...]
    """One a process that made the load."""
    verdict: Verdict

    @property
    def generator(self) -> Generator:
        """The busiest one."""
        return busiest(self.generators)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The content of ``summary.json``. Times are in milliseconds, counted from the intended start."""
        summary = self.summary
        return {
            "model": {"name": self.model, "digest": self.digest},
            "url": self.url,
            "began": self.began,
            "verdict": self.verdict.verdict,
            "objective_met": self.verdict.verdict == "pass",
            "reasons": list(self.verdict.reasons),
            "objective": [
                {
                    "name": measure.name,
                    "limit": measure.limit,
                    "bound": "at most" if measure.at_most else "at least",
                    "measured": measure.measured,
                    "met": measure.met,
                }
                for measure in self.verdict.measures
            ],
            "requests": summary.requests,
            "failures": summary.failures,
            "failure_ratio": summary.failure_ratio,
            "rps": summary.rps,
            "rows_per_second": summary.rows_per_second,
            **asdict(summary.latency),
            "service": asdict(summary.service),
            "protocols": {
                name: {"requests": part.requests, "failures": part.failures, **asdict(part.latency)}
                for name, part in summary.protocols.items()
            },
            "errors": [{"error": error, "count": count} for error, count in summary.errors.items()],
            "generator": {**asdict(self.generator), "lag_p99_ms": summary.lag_p99_ms},
            "workers": [asdict(one) for one in self.generators if one.worker is not None],
            "settings": self.plan.model_dump(mode="json", exclude_none=True),
        }

    def html(self) -> str:
        """The page."""
        course = series(self.samples, self.plan.duration, self.plan.warmup)
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {"figure": figure, "share": share}
        return environment.get_template("report.html.j2").render(
            report=self,
            plots={
                name: Markup(svg)  # our own drawing, made of numbers
                for name, svg in {
                    "throughput": plots.throughput(course, self.plan),
                    "percentiles": plots.percentiles(course, self.plan),
                    "histogram": plots.histogram(self.samples),
                }.items()
            },
        )

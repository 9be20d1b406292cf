# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The report: the results of a campaign as a JSON document and as an HTML page.

The page is one file without scripts and external links, so it can be mailed, archived and printed. The report
computes no metric and decides no verdict.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tidegate_loadtests.formatting import format_number, format_percent
from tidegate_loadtests.generator_cpu import Generator, busiest
from tidegate_loadtests.plan import LoadTest
from tidegate_loadtests.plots import plot_distribution, plot_latency, plot_throughput
from tidegate_loadtests.samples import Samples
from tidegate_loadtests.summary import Summary
from tidegate_loadtests.time_series import compute_time_series
from tidegate_loadtests.verdict import Verdict

REPORT = "report.html"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Report:
    """A finished campaign: model, server, plan, measurements and verdict."""

    model: str
    digest: str
    url: str
    started_at: str
    """ISO 8601, in UTC."""
    plan: LoadTest
    samples: Samples
    summary: Summary
    generators: tuple[Generator, ...]
    """One per process that made the load."""
    verdict: Verdict

    @property
    def generator(self) -> Generator:
        """The busiest generator."""
        return busiest(self.generators)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The content of ``summary.json``."""
        summary = self.summary
        return {
            "model": {"name": self.model, "digest": self.digest},
            "url": self.url,
            "started_at": self.started_at,
            "verdict": self.verdict.outcome,
            "passed": self.verdict.outcome == "pass",
            "reasons": list(self.verdict.reasons),
            "thresholds": [asdict(result) | {"met": result.met} for result in self.verdict.thresholds],
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
            "generator": asdict(self.generator),
            "workers": [asdict(one) for one in self.generators if one.worker is not None],
            "plan": self.plan.model_dump(mode="json", exclude_none=True),
        }

    def html(self) -> str:
        """Render the page."""
        series = compute_time_series(self.samples, self.plan.duration, self.plan.warmup)
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {"number": format_number, "percent": format_percent}
        return environment.get_template("report.html.j2").render(
            report=self,
            plots={
                name: Markup(svg)  # safe without escapes: drawn here, from numbers only
                for name, svg in {
                    "throughput": plot_throughput(series, self.plan),
                    "latency": plot_latency(series, self.plan),
                    "distribution": plot_distribution(self.samples),
                }.items()
            },
        )

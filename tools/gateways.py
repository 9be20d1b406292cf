# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The table of Gateways in docs/gateways.md, from the conformance reports of the Gateway API.

Usage, after ``git clone https://github.com/kubernetes-sigs/gateway-api``:
``python -m tools.gateways gateway-api`` replaces the table's rows by those of the newest reports.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PAGE = Path("docs/gateways.md")
FEATURES = (
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteRequestTimeout",
    "HTTPRouteBackendProtocolH2C",
)
"""The optional features that a route of the chart uses, in the order of the table's columns."""
MIRROR = "HTTPRouteRequestPercentageMirror"
"""The feature of the last column. Reports of releases before 1.3 do not state it, which means no."""
ROWS = re.compile(r"(?<=\|---\|---\|---\|---\|---\|---\|---\|\n)(?:\|.*\n)+")


@dataclass(frozen=True)
class Report:
    """A report about one implementation.

    Args:
        release: The release of the Gateway API, for example (1, 6).
        project: The implementation's name.
        url: The implementation's address.
        version: The implementation's version.
        supported: Whether it supports each of the features, and the mirror.
    """

    release: tuple[int, ...]
    project: str
    url: str
    version: str
    supported: tuple[bool, ...]


def parse_report(release: str, document: Any) -> Report | None:
    """Parse a report; return None if it does not state the optional features of HTTP routes.

    Args:
        release: The folder's name, for example v1.6.
        document: The report.
    """
    profiles = {profile["name"]: profile.get("extended") or {} for profile in document.get("profiles", [])}
    extended = profiles.get("GATEWAY-HTTP", {})
    supported = set(extended.get("supportedFeatures") or [])
    stated = supported | set(extended.get("unsupportedFeatures") or [])
    if not stated.issuperset(FEATURES):
        return None
    implementation = document["implementation"]
    return Report(
        tuple(int(number) for number in re.findall(r"\d+", release)),
        str(implementation["project"]),
        re.sub(r"^(?!https?://)", "https://", str(implementation["url"])),
        str(implementation["version"]).removeprefix("v"),
        tuple(feature in supported for feature in (*FEATURES, MIRROR)),
    )


def read_reports(repository: Path) -> Iterator[Report]:
    """Yield the reports of a checkout that state the features."""
    for file in sorted((repository / "conformance" / "reports").glob("v*/*/*.yaml")):
        report = parse_report(file.parts[-3], yaml.safe_load(file.read_text()))
        if report is not None:
            yield report


def newest(reports: Iterable[Report]) -> list[Report]:
    """Return one report per implementation, of the newest release; a feature must be in all its reports."""
    by_project: dict[str, Report] = {}
    for report in reports:
        current = by_project.get(report.project)
        if current is None or report.release > current.release:
            by_project[report.project] = report
        elif report.release == current.release:
            both = tuple(a and b for a, b in zip(current.supported, report.supported, strict=True))
            by_project[report.project] = Report(
                report.release, report.project, report.url, report.version, both
            )
    return sorted(by_project.values(), key=lambda it: (-sum(it.supported), it.project.lower()))


def row(report: Report) -> str:
    """Return an implementation's row of the table.

    >>> row(Report((1, 6), "traefik", "https://traefik.io", "3.7.10", (True, False, True, True)))
    '| [traefik](https://traefik.io) | 3.7.10 | 1.6 | yes | **no** | yes | yes |'
    """
    release = ".".join(map(str, report.release))
    cells = ["yes" if supported else "**no**" for supported in report.supported]
    name = f"[{report.project}]({report.url})"
    return f"| {' | '.join([name, report.version, release, *cells])} |"


def main() -> int:
    """Replace the rows of the table in the page."""
    [repository] = sys.argv[1:]
    rows = "".join(row(report) + "\n" for report in newest(read_reports(Path(repository))))
    page, replaced = ROWS.subn(lambda _: rows, PAGE.read_text())
    if replaced != 1:
        print(f"{PAGE}: expected one table with seven columns, found {replaced}.", file=sys.stderr)
        return 1
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())

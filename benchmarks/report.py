# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The page ``docs/performance.md`` and its plots, rendered from a result.

``python -m benchmarks.report`` renders ``out/bench/serving.json`` again. Every figure comes from this file.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.table import Table

from benchmarks import plots, stages
from benchmarks.models import ROOT
from benchmarks.servers import SERVERS
from benchmarks.target import format_met, format_target, format_value

DOCS = ROOT / "docs"
PAGE = DOCS / "performance.md"
_RESULT = ROOT / "out" / "bench" / "serving.json"
_MODELS = {
    "lr": "logistic regression, scaled, 30 features",
    "rf": "forest of 100 trees, 30 features",
    "svm": "support vector machine, RBF kernel, scaled, 30 features",
    "gb": "gradient boosting, 100 trees, 30 features",
    "mixed": "logistic regression on columns of text, numbers and truth values",
}

_LONG_CONNECTIONS = 16

Result = Mapping[str, Any]


def write_result(path: Path, result: Result) -> None:
    """Replace a result's file as a whole, so that a measurement that ends early leaves the previous one."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(path)


def render(source: Path, docs: Path = DOCS) -> None:
    """Write the page and its plots from a result's file."""
    result = json.loads(source.read_text())
    for name, svg in plots.draw(result["rows"]).items():
        (docs / f"performance-{name}.svg").write_text(svg)
    (docs / PAGE.name).write_text(page(result))


def environment() -> Environment:
    """Return the environment of the pages' templates."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the page is Markdown, and all values come from this project
    )
    environment.filters |= {
        "count": _count,
        "ms": _ms,
        "rows_per_cpu_second": _rows_per_cpu_second,
        "us": _us,
        "target": format_target,
        "value": format_value,
    }
    return environment


def page(result: Result) -> str:
    """Render the page's text."""
    measured = list(dict.fromkeys(row["server"] for row in result["rows"]))
    return (
        environment()
        .get_template("performance.md.j2")
        .render(
            result=result,
            servers={name: SERVERS[name] for name in measured},
            models=_MODELS,
            single=[_group(result, model, 1) for model in ("lr", "rf")],
            long=_select(result, _is_long),
            grpc=_select(result, lambda row: row["protocol"] == "grpc"),
            others=_select(result, lambda row: row["model"] not in ("lr", "rf")),
            uncounted=_select(result, lambda row: row["server"] == "tidegate-uncounted"),
            start=_select(result, lambda row: row["load"] == "start"),
            stages=stages.divide(result["stages"], result["rows"]),
            inconclusive=_inconclusive(result),
        )
    )


def _group(result: Result, model: str, rows: int) -> dict[str, Any]:
    """Group the closed loops by server and protocol, then by number of connections."""
    lines: dict[tuple[str, str], dict[int, Any]] = {}
    for row in result["rows"]:
        comparable = row["protocol"] != "grpc" and SERVERS[row["server"]].comparable
        if comparable and (row["model"], row["rows"], row["load"]) == (model, rows, "closed"):
            lines.setdefault((row["server"], row["protocol"]), {})[row["connections"]] = row
    return {"model": model, "lines": lines}


def _select(result: Result, predicate: Any) -> list[Mapping[str, Any]]:
    return [row for row in result["rows"] if predicate(row)]


def _is_long(row: Mapping[str, Any]) -> bool:
    return bool(row["rows"] > 1 and row["connections"] == _LONG_CONNECTIONS and row["protocol"] != "grpc")


def _inconclusive(result: Result) -> list[dict[str, Any]]:
    """Return each row with inconclusive rounds once per reason, with the number of rounds."""
    return [
        {"row": row, "reason": reason, "rounds": rounds}
        for row in result["rows"]
        for reason, rounds in Counter(r["inconclusive"] for r in row["rounds"] if r["inconclusive"]).items()
    ]


def _count(row: Mapping[str, Any] | None, name: str = "rps") -> str:
    """Format a figure's median with its spread over the rounds."""
    if row is None:
        return "-"
    if name not in row["median"]:
        return "inconclusive"
    low, high = row["spread"][name]
    return f"{row['median'][name]:,.0f} ({low:,.0f} to {high:,.0f})"


def _rows_per_cpu_second(row: Mapping[str, Any]) -> str:
    median = row["median"]
    if "responses_per_cpu_s" not in median:
        return "inconclusive"
    return f"{row['rows'] * median['responses_per_cpu_s']:,.0f}"


def _ms(row: Mapping[str, Any] | None, name: str = "p99_ms") -> str:
    if row is None:
        return "-"
    return f"{row['median'][name]:,.2f}" if name in row["median"] else "inconclusive"


def _us(microseconds: float | None) -> str:
    return "-" if microseconds is None else f"{microseconds:,.1f}"


def show(result: Result) -> None:
    """Print the ratios."""
    table = Table("ratio", "value", "target", "met", "rounds", box=None, pad_edge=False)
    for key, ratio in result["ratios"].items():
        rounds = ", ".join("inconclusive" if value is None else f"{value:.3g}" for value in ratio["rounds"])
        table.add_row(key, format_value(ratio), format_target(ratio), format_met(ratio), rounds)
    Console(highlight=False).print(table)


def main() -> None:
    """Render the page from an existing result."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="Write docs/performance.md."
    )
    parser.add_argument("result", type=Path, nargs="?", default=_RESULT)
    render(parser.parse_args().result)


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The console: a command's result on standard output, its progress on standard error.

A result is text for people or JSON for scripts. The command decides on its content.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_LINE_INTERVAL_SECONDS = 10.0

# Without markup, because names of features, categories and files may contain rich's markup. Use rich's Text
# for styles.
stdout = Console(highlight=False, markup=False, emoji=False)
stderr = Console(stderr=True, highlight=False, markup=False, emoji=False)


class OutputFormat(StrEnum):
    """Formats of a command's result."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="Print for people (text) or for scripts (json).")
]


def print_result(output: OutputFormat, payload: Mapping[str, Any], text: RenderableType) -> None:
    """Print a command's result in the selected format.

    Args:
        output: The format.
        payload: The result as a JSON document.
        text: The result as text.
    """
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(payload, indent=2, ensure_ascii=False))
    else:
        stdout.print(text, soft_wrap=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """Display progress on standard error: animated on a terminal, plain lines elsewhere."""
    if not stderr.is_terminal:
        yield _LogProgress(disable=True)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as display:
        yield display


class _LogProgress(Progress):
    """Progress for a log: one line when a step begins, then at most one line per ten seconds.

    The part of a description before a colon names the step; the part after it may change at every update.
    """

    _step = ""
    _printed_at = 0.0

    def add_task(self, description: str, *arguments: Any, **fields: Any) -> TaskID:
        self._print(description)
        return super().add_task(description, *arguments, **fields)

    def update(self, task_id: TaskID, **fields: Any) -> None:
        self._print(fields.get("description") or self._step)
        super().update(task_id, **fields)

    def _print(self, description: str) -> None:
        step, now = description.partition(":")[0], time.monotonic()
        due = description != step and now - self._printed_at > _LINE_INTERVAL_SECONDS
        if step != self._step or due:
            self._step, self._printed_at = step, now
            stderr.print(description, soft_wrap=True)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What a command prints: its result on standard output, its progress on standard error.

The result is for a person or for a script, as the caller asks; what it says is the command's business.
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

_LINE_SECONDS = 10.0

# Names of features, categories and files stand in what is printed, and what rich would take for markup is
# part of the name. A style is said by rich's Text.
stdout = Console(highlight=False, markup=False, emoji=False)
stderr = Console(stderr=True, highlight=False, markup=False, emoji=False)


class OutputFormat(StrEnum):
    """How a command prints its result."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="Print for people (text) or for scripts (json).")
]


def emit(output: OutputFormat, payload: Mapping[str, Any], text: RenderableType) -> None:
    """Print a command's result: the payload as one JSON document, or the text."""
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(payload, indent=2, ensure_ascii=False))
    else:
        stdout.print(text, soft_wrap=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress display on standard error: a moving one on a terminal, plain lines elsewhere."""
    if not stderr.is_terminal:
        yield _Lines(disable=True)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as display:
        yield display


class _Lines(Progress):
    """Progress for a log: a line when a step begins, and then at most one every ten seconds.

    What stands before a colon in a description is the step; what follows may change all the time.
    """

    _step = ""
    _told = 0.0

    def add_task(self, description: str, *arguments: Any, **fields: Any) -> TaskID:
        self._tell(description)
        return super().add_task(description, *arguments, **fields)

    def update(self, task_id: TaskID, **fields: Any) -> None:
        self._tell(fields.get("description") or self._step)
        super().update(task_id, **fields)

    def _tell(self, description: str) -> None:
        step, now = description.partition(":")[0], time.monotonic()
        if step != self._step or (description != step and now - self._told > _LINE_SECONDS):
            self._step, self._told = step, now
            stderr.print(description, soft_wrap=True)

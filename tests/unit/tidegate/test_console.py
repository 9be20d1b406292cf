# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io
import json

import pytest
from rich.console import Console, Group
from rich.table import Table

from tidegate import console
from tidegate.console import OutputFormat, emit, progress


def told(monkeypatch, descriptions, seconds=0.0):
    """What a log shows of a task's descriptions, each some seconds after the one before."""
    log, clock = io.StringIO(), iter(i * seconds for i in range(100))
    monkeypatch.setattr(console, "stderr", Console(file=log, force_terminal=False))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with progress() as display:
        task = display.add_task(descriptions[0])
        for description in descriptions[1:]:
            display.update(task, description=description)
    return log.getvalue().splitlines()


def test_a_log_has_a_line_for_each_step(monkeypatch):
    assert told(monkeypatch, ["reading", "reading", "fitting", "reading"]) == [
        "reading",
        "fitting",
        "reading",
    ]


def test_a_log_is_not_flooded_by_a_count_that_changes(monkeypatch):
    counts = [f"asking: {count}" for count in range(7)]
    assert told(monkeypatch, counts) == ["asking: 0"]
    assert told(monkeypatch, counts, seconds=4.0) == ["asking: 0", "asking: 3", "asking: 6"]


@pytest.mark.parametrize("name", ["len [mm]", "[/a]", "[red]", ":bug:", "a\\[b]"])
def test_a_name_is_printed_as_it_is_wherever_it_stands(capsys, name):
    table = Table(name, title=name)
    table.add_row(name)
    emit(OutputFormat.TEXT, {}, Group(name, table))
    assert capsys.readouterr().out.count(name) == 4


def test_a_name_in_a_moving_progress_display_is_no_markup(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=terminal, force_terminal=True, width=100))
    with progress() as display:
        display.add_task("Pushing to [/a]")
    assert "Pushing to [/a]" in terminal.getvalue()


def test_json_is_one_document_and_text_is_text(capsys):
    emit(OutputFormat.JSON, {"a": "ü"}, "text")
    assert json.loads(capsys.readouterr().out) == {"a": "ü"}

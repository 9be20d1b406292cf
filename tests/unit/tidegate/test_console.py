# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io
import json

import pytest
from rich.console import Console, Group
from rich.table import Table

from tidegate import console
from tidegate.console import OutputFormat, print_result, progress


def log_lines(monkeypatch, descriptions, seconds=0.0):
    """Return the log of a task whose description changes at an interval of some seconds."""
    log, clock = io.StringIO(), iter(i * seconds for i in range(100))
    monkeypatch.setattr(console, "stderr", Console(file=log, force_terminal=False))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with progress() as display:
        task = display.add_task(descriptions[0])
        for description in descriptions[1:]:
            display.update(task, description=description)
    return log.getvalue().splitlines()


def test_progress_in_a_log_has_one_line_per_step(monkeypatch):
    assert log_lines(monkeypatch, ["reading", "reading", "fitting", "reading"]) == [
        "reading",
        "fitting",
        "reading",
    ]


def test_progress_in_a_log_limits_lines_of_one_step(monkeypatch):
    counts = [f"sending: {count}" for count in range(7)]
    assert log_lines(monkeypatch, counts) == ["sending: 0"]
    assert log_lines(monkeypatch, counts, seconds=4.0) == ["sending: 0", "sending: 3", "sending: 6"]


@pytest.mark.parametrize("name", ["len [mm]", "[/a]", "[red]", ":bug:", "a\\[b]"])
def test_print_result_prints_markup_literally(capsys, name):
    table = Table(name, title=name)
    table.add_row(name)
    print_result(OutputFormat.TEXT, {}, Group(name, table))
    assert capsys.readouterr().out.count(name) == 4


def test_progress_on_a_terminal_prints_markup_literally(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=terminal, force_terminal=True, width=100))
    with progress() as display:
        display.add_task("Pushing to [/a]")
    assert "Pushing to [/a]" in terminal.getvalue()


def test_print_result_json_is_one_document(capsys):
    print_result(OutputFormat.JSON, {"a": "ü"}, "text")
    assert json.loads(capsys.readouterr().out) == {"a": "ü"}

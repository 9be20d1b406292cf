# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Prometheus' command promtool, and its unit tests of rules.

It is built with Prometheus. ``make alerts`` builds it, and ``make test`` uses it if it is built.
"""

import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.cases import Case
from tests.alerts.scopes import Scope
from tests.support.go_tool import find
from tools.cluster.optional_addons import PROMETHEUS

Group = dict[str, Any]

PROMTOOL = find(PROMETHEUS, "promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not built: run make alerts")


def find_errors(groups: Sequence[Group], folder: Path) -> str | None:
    """Return the errors that `promtool check rules` finds in groups of rules, or None."""
    return _run("check", "rules", "--lint=all", "--lint-fatal", str(_write_rules(groups, folder)))


def run_cases(groups: Sequence[Group], scope: Scope, cases: Iterable[Case], folder: Path) -> str | None:
    """Run cases as promtool's unit tests.

    The rules keep the summary as the only annotation, because only the summary has values of the alert.

    Args:
        groups: The groups of rules.
        scope: Where the rules come from.
        cases: The cases.
        folder: A folder for promtool's files.

    Returns:
        The failures, or None.
    """
    summaries = [
        group
        | {
            "rules": [
                rule | {"annotations": {"summary": rule["annotations"]["summary"]}} for rule in group["rules"]
            ]
        }
        for group in groups
    ]
    document = {
        "rule_files": [_write_rules(summaries, folder).name],
        "evaluation_interval": "1m",
        "tests": [case.as_test(scope) for case in cases],
    }
    file = folder / "tests.json"
    file.write_text(json.dumps(document))
    return _run("test", "rules", str(file))


def _write_rules(groups: Sequence[Group], folder: Path) -> Path:
    file = folder / "rules.json"
    file.write_text(json.dumps({"groups": list(groups)}))
    return file


def _run(*arguments: str) -> str | None:
    assert PROMTOOL is not None
    completed = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    return None if completed.returncode == 0 else completed.stdout + completed.stderr

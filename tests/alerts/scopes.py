# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The rules under test, rendered from the charts: those of three releases, and those of a fleet."""

from enum import StrEnum
from typing import Any

from tests.charts.chart import Values, of_kind, render
from tests.charts.conftest import DIGEST, IMAGE, OTHER, merged

RELEASES: tuple[tuple[str, str, Values], ...] = (
    ("models", "demo", {"canary": {"digest": OTHER}}),
    ("models", "other", {}),
    ("fraud", "demo", {}),
)
"""Namespace, name and values; two releases have the same name."""

BASE: Values = {
    "model": {"uri": "s3://models/breast-cancer", "digest": DIGEST},
    "image": IMAGE,
    "alerts": {"enabled": True},
}


class Scope(StrEnum):
    """Where rules come from."""

    RELEASE = "release"
    """Each release has its own rules."""
    FLEET = "fleet"
    """One set of rules is for all releases."""


def render_groups(scope: Scope, alerts: Values | None = None) -> list[dict[str, Any]]:
    """Render the groups of rules, with values of `alerts` that differ from the defaults."""
    changes: Values = {"alerts": alerts or {}}
    if scope is Scope.FLEET:
        return _groups(render(changes, "tidegate-monitoring", "fleet", "monitoring"))
    return [
        group
        for namespace, name, values in RELEASES
        for group in _groups(render(merged(merged(BASE, values), changes), release=name, namespace=namespace))
    ]


def _groups(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    [rules] = of_kind(objects, "PrometheusRule").values()
    groups: list[dict[str, Any]] = rules["spec"]["groups"]
    return groups

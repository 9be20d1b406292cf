# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Targets: the bounds of a value, and how a result shows them."""

from collections.abc import Mapping
from typing import Any


def is_met(value: float, at_least: float | None, at_most: float | None) -> bool:
    """Return whether a value is within its bounds.

    Args:
        value: The value.
        at_least: Lower bound; None if there is none.
        at_most: Upper bound; None if there is none.
    """
    if at_least is not None and value < at_least:
        return False
    return at_most is None or value <= at_most


def format_target(row: Mapping[str, Any]) -> str:
    """Format the bound of a row of a result."""
    return f"≥ {row['at_least']:g}" if row["at_least"] is not None else f"≤ {row['at_most']:g}"


def format_value(row: Mapping[str, Any]) -> str:
    """Format the value of a row of a result."""
    return "inconclusive" if row["value"] is None else f"{row['value']:.3g}"


def format_met(row: Mapping[str, Any]) -> str:
    """Format whether a row of a result meets its target, with colours for the terminal."""
    return {True: "[green]yes[/]", False: "[red]no[/]", None: "[red]inconclusive[/]"}[row["met"]]

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Tidegate's server with everything but its counting: what it is faster by is what metrics and drift cost.

Here and not an option of the server, for nobody should run it.
"""

from tidegate_serving.observability.drift_monitor import DriftMonitor
from tidegate_serving.observability.metrics import Metrics

from tidegate.cli import main


def _nothing(*_: object) -> None:
    """Count nothing."""


def strip() -> None:
    """Take the counting out of this process's server."""
    for name in ("answered", "computed", "read", "rejected", "stage"):
        _replace(Metrics, name)
    for name in ("refused", "seen"):
        _replace(DriftMonitor, name)


def _replace(owner: type, name: str) -> None:
    getattr(owner, name)  # a name that is gone must not silently be counted again
    setattr(owner, name, _nothing)


if __name__ == "__main__":
    strip()
    main()

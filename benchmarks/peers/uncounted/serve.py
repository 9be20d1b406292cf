# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Tidegate's server without metrics and drift: the difference in throughput is their cost.

It is not an option of the server, because operators need the metrics.
"""

from tidegate_serving.observability.drift_monitor import DriftMonitor
from tidegate_serving.observability.metrics import Metrics

from tidegate.cli import main


def _nothing(*_: object) -> None:
    """Record nothing."""


def strip() -> None:
    """Remove the recording from this process's server."""
    for name in ("record_response", "record_batch", "record_parse", "record_rejection", "record_stage"):
        _replace(Metrics, name)
    for name in ("record_error", "record_batch"):
        _replace(DriftMonitor, name)


def _replace(owner: type, name: str) -> None:
    getattr(owner, name)  # a renamed method must raise instead of being recorded again
    setattr(owner, name, _nothing)


if __name__ == "__main__":
    strip()
    main()

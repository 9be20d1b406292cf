# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from tidegate_serving.config import DRAIN_SECONDS, SHUTDOWN_TIMEOUT

GRACE_PERIOD = 30
"""Kubernetes' default ``terminationGracePeriodSeconds``."""
EXIT_SECONDS = 5
"""The time that docs/serving.md reserves for the end of the process."""


def test_default_shutdown_fits_into_kubernetes_grace_period() -> None:
    assert DRAIN_SECONDS + SHUTDOWN_TIMEOUT + EXIT_SECONDS <= GRACE_PERIOD

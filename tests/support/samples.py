# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Samples of load tests by column, with defaults for the columns that a test does not care for."""

from collections.abc import Sequence

import numpy as np

from tidegate_loadtests.samples import Floats, Samples


def make_samples(
    intended_start: Sequence[float] | Floats,
    sent: Sequence[float] | Floats | None = None,
    completed: Sequence[float] | Floats | None = None,
    connection_free: Sequence[float] | Floats | None = None,
    error: Sequence[str] | None = None,
    protocol: Sequence[str] | None = None,
) -> Samples:
    """Make samples of one row each; by default sent when intended, with a successful response at once.

    Args:
        intended_start: Seconds from the start of the campaign, ``[requests]``.
        sent: By default the intended starts.
        completed: By default the times of sending.
        connection_free: By default long before.
        error: Empty for a successful request, which is the default.
        protocol: By default V1.
    """
    count = len(intended_start)
    sent = intended_start if sent is None else sent
    return Samples(
        intended_start=np.array(intended_start, float),
        connection_free=np.array([-10.0] * count if connection_free is None else connection_free, float),
        sent=np.array(sent, float),
        completed=np.array(sent if completed is None else completed, float),
        status=np.full(count, 200),
        protocol=np.array(["v1"] * count if protocol is None else protocol, object),
        rows=np.full(count, 1),
        error=np.array([""] * count if error is None else error, object),
    )

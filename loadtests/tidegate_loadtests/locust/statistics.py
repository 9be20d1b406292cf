# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Locust's statistics within bounded memory: Locust itself keeps each second and each point of its charts."""

from typing import Any

_KEPT_SECONDS = 60
"""Locust's current rates read the last twelve seconds; workers report some seconds late."""
_MAX_HISTORY = 720
"""Points of Locust's charts, one per five seconds: the first hour has all of them."""


def forget_old_statistics(stats: Any) -> None:
    """Forget the requests per second of the past, and every other point of a chart that has too many."""
    for entry in (stats.total, *stats.entries.values()):
        oldest = int(entry.last_request_timestamp or 0) - _KEPT_SECONDS
        for counts in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
            for second in [second for second in counts if second < oldest]:
                del counts[second]
    if len(stats.history) > _MAX_HISTORY:
        del stats.history[1::2]

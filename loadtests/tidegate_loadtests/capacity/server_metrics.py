# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The replica's own metrics, from its page for Prometheus.

The rate of ``tidegate_request_duration_seconds_sum`` is the mean number of requests in flight (Little's law).
Counters of two scrapes give the means of the time between them.
"""

import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tidegate.errors import ServerError

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_TIMEOUT_SECONDS = 10.0


def parse_samples(text: str) -> tuple[dict[str, float], dict[str, Mapping[str, str]]]:
    r"""Parse a page in Prometheus' text format.

    >>> parse_samples('# HELP x\nx{a="1"} 2\nx{a="2"} 3\ny 1e-3\n')
    ({'x': 5.0, 'y': 0.001}, {'x': {'a': '2'}})

    Returns:
        By name, the sum over the series, and the labels of the last series that has any.
    """
    values: dict[str, float] = {}
    labels: dict[str, Mapping[str, str]] = {}
    for match in _SAMPLE.finditer(text):
        name, pairs, value = match.groups()
        values[name] = values.get(name, 0.0) + float(value)
        if pairs:
            labels[name] = dict(_LABEL.findall(pairs))
    return values, labels


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """The metrics of one scrape."""

    digest: str
    engine: str
    request_seconds: float
    """Sum of the durations of all requests."""
    calls: float
    """Number of engine calls."""
    rows: float
    """Rows of all engine calls."""
    queued_rows: float
    cpu_seconds: float
    memory_bytes: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the replica's page.

        Raises:
            ServerError: If a metric is missing, because the server is another one.
        """
        values, labels = parse_samples(text)
        try:
            return cls(
                digest=labels["tidegate_model_info"]["digest"],
                engine=labels["tidegate_model_info"]["engine"],
                request_seconds=values["tidegate_request_duration_seconds_sum"],
                calls=values["tidegate_batch_size_rows_count"],
                rows=values["tidegate_batch_size_rows_sum"],
                queued_rows=values["tidegate_queue_depth_rows"],
                cpu_seconds=values["process_cpu_seconds_total"],
                memory_bytes=values["process_resident_memory_bytes"],
            )
        except KeyError as error:
            raise ServerError(
                f"the metric {error} is missing: expected 'tidegate serve' of this version; give the URL of "
                "one pod."
            ) from None


def scrape(url: str, headers: Mapping[str, str]) -> ServerMetrics:
    """Scrape a replica.

    Raises:
        ServerError: If the replica does not respond, or has other metrics.
    """
    address = f"{url.rstrip('/')}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(
            urllib.request.Request(address, headers=dict(headers)), timeout=_TIMEOUT_SECONDS
        ) as response:
            text = response.read().decode()
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ServerError(
            f"{address} did not respond ({error}): start the server, or correct --url."
        ) from None
    try:
        return ServerMetrics.parse(text)
    except ServerError as error:
        raise ServerError(f"{address}: {error}") from None

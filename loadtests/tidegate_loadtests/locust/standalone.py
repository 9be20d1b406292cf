# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The standalone generator: makes the whole load of a campaign in this process, and writes its samples."""

import os
import time
from typing import Any

import gevent

from tidegate_loadtests.headers import resolve_headers
from tidegate_loadtests.live_metrics import SampleCounter
from tidegate_loadtests.locust.shape import CampaignShape
from tidegate_loadtests.locust.statistics import forget_old_statistics
from tidegate_loadtests.locust.users import InferenceUser, RequestSource
from tidegate_loadtests.partition import split_load
from tidegate_loadtests.run_files import RunConfig, RunStatus
from tidegate_loadtests.samples import SampleWriter
from tidegate_loadtests.workload import Workload

_FLUSH_SECONDS = 0.5


class Standalone:
    """The only generator of a campaign, from the start of its process on."""

    def __init__(self, environment: Any, config: RunConfig) -> None:
        self._config = config
        self._stats = environment.stats
        (partition,) = split_load(config.campaign, config.contract, 1, config.read_payload())
        headers = resolve_headers(partition.headers, os.environ)
        self._source = RequestSource(partition, Workload(partition), headers)
        self._writer = SampleWriter(config.samples_path)
        self._counter = SampleCounter(time.monotonic)
        self._started_at = 0.0
        self._inconclusive_reason: str | None = None
        InferenceUser.configure(self._source)
        CampaignShape.users = partition.users
        environment.events.spawning_complete.add_listener(self._start)
        environment.events.test_stopping.add_listener(self._report_stop)
        environment.events.quitting.add_listener(self._close)

    def _start(self, **_: Any) -> None:
        if not self._source.started.is_set():
            self._started_at = time.time()
            self._source.start()
            self._write_status()
            gevent.spawn(self._flush_regularly)

    def _flush_regularly(self) -> None:
        while not CampaignShape.finished:
            gevent.sleep(_FLUSH_SECONDS)
            self._flush()
            CampaignShape.finished = self._source.finished

    def _flush(self) -> None:
        samples = self._source.samples.take()
        self._counter.add(samples)
        # In a thread, because compression would delay requests.
        gevent.get_hub().threadpool.apply(self._writer.write, (samples,))
        self._write_status()
        forget_old_statistics(self._stats)

    def _write_status(self) -> None:
        RunStatus(
            start_time=self._source.start_time,
            started_at=self._started_at,
            live=self._counter.read(),
            inconclusive_reason=self._inconclusive_reason,
        ).write(self._config.status_path)

    def _report_stop(self, **_: Any) -> None:
        if self._source.started.is_set() and not self._source.finished:
            self._inconclusive_reason = "the campaign was stopped on Locust's page"
            self._write_status()

    def _close(self, **_: Any) -> None:
        """Complete the file of samples, unless the campaign was stopped before its end."""
        if self._source.finished:
            self._flush()
            self._writer.close()

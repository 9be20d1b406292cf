# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The recorder: writes down the replicas, pods and events of the watched Deployment while a campaign runs.

A record is added per change of a fact, so the records of a long campaign stay few: the autoscaler's status
changes every 15 seconds, and Kubernetes limits events by itself.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import Any

from kubernetes.client import ApiClient

from tidegate.errors import ConfigurationError, ServerError, TidegateError
from tidegate.kubernetes.client import load_api_client
from tidegate_loadtests.campaign import Watch
from tidegate_loadtests.timeline.records import EventRecord, PodRecord, ReplicaRecord, Timeline
from tidegate_loadtests.timeline.reflector import Reflector
from tidegate_loadtests.timeline.resources import (
    AUTOSCALERS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    PODS,
    RESOURCES,
    AutoscalerFacts,
    DeploymentFacts,
    EventFacts,
    PodFacts,
    Resource,
    deployment_name,
)
from tidegate_loadtests.timeline.watcher import ResourceClient, Watcher

_SYNC_SECONDS = 30.0
"""Time for the first complete lists."""
_CATCH_UP_SECONDS = 2.0
"""Time for events on their way when the recording ends."""


class TimelineRecorder:
    """The records of one Deployment. Callers protect it against use by several threads.

    Args:
        deployment: Name of the Deployment.
        clock: Returns the time of a change, in seconds of Unix time.
    """

    def __init__(self, deployment: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._recording = False
        self._replicas: list[ReplicaRecord] = []
        self._pods: list[PodRecord] = []
        self._last_pods: dict[str, PodRecord] = {}
        self._events: list[EventRecord] = []

        def reflect(resource: Resource, on_change: Callable[[str, Any], None]) -> Reflector[Any]:
            return Reflector(resource.plural, lambda item: resource.read(item, deployment), clock, on_change)

        self._deployments: Reflector[DeploymentFacts] = reflect(DEPLOYMENTS, self._record_replicas)
        self._autoscalers: Reflector[AutoscalerFacts] = reflect(AUTOSCALERS, self._record_replicas)
        self._pod_states: Reflector[PodFacts] = reflect(PODS, lambda name, _: self._record_pod(name))
        self._slices: Reflector[frozenset[str]] = reflect(ENDPOINT_SLICES, self._record_endpoints)
        self.reflectors: dict[str, Reflector[Any]] = {
            reflector.resource: reflector
            for reflector in (
                self._deployments,
                self._autoscalers,
                self._pod_states,
                self._slices,
                reflect(EVENTS, self._record_event),
            )
        }

    @property
    def ready_replicas(self) -> int | None:
        """The number of ready replicas now; None before the first record."""
        return self._replicas[-1].ready if self._replicas else None

    @property
    def synced(self) -> bool:
        """Whether each reflector has had its first complete list."""
        return all(reflector.synced for reflector in self.reflectors.values())

    def begin(self) -> None:
        """Record the state of the first lists, and every change from now on."""
        self._recording = True
        self._record_replicas("", None)
        for name in self._pod_states.objects:
            self._record_pod(name)

    def timeline(self, started_at: float) -> Timeline:
        """Return the records.

        Args:
            started_at: Start of the campaign, in seconds of Unix time.
        """
        gaps = sorted(
            (gap for reflector in self.reflectors.values() for gap in reflector.gaps),
            key=lambda gap: gap.start,
        )
        return Timeline(
            started_at,
            [replace(record, time=record.time - started_at) for record in self._replicas],
            [replace(record, time=record.time - started_at) for record in self._pods],
            [replace(record, time=record.time - started_at) for record in self._events],
            [replace(gap, start=gap.start - started_at, end=gap.end - started_at) for gap in gaps],
        )

    def _record_replicas(self, _name: str, _facts: object) -> None:
        if not self._recording:
            return
        deployment = next(iter(self._deployments.objects.values()), DeploymentFacts(0, 0, 0))
        autoscaler = next(iter(self._autoscalers.objects.values()), None)
        record = ReplicaRecord(
            time=self._clock(),
            desired=deployment.desired,
            current=deployment.current,
            ready=deployment.ready,
            hpa_desired=None if autoscaler is None else autoscaler.desired,
            hpa_max=None if autoscaler is None else autoscaler.maximum,
            metric=None if autoscaler is None else autoscaler.metric,
        )
        last = self._replicas[-1] if self._replicas else None
        if last is None or replace(last, time=record.time) != record:
            self._replicas.append(record)

    def _record_pod(self, name: str) -> None:
        if not self._recording:
            return
        facts, last = self._pod_states.objects.get(name), self._last_pods.get(name)
        now = self._clock()
        if facts is not None:
            endpoint_ready = any(name in ready for ready in self._slices.objects.values())
            record = PodRecord(now, name, facts.phase, facts.ready, endpoint_ready, facts.deleted, gone=False)
            self._last_pods[name] = record
        elif last is not None:
            record = replace(last, time=now, ready=False, endpoint_ready=False, deleted=True, gone=True)
            del self._last_pods[name]
        else:
            return
        if last is None or replace(last, time=now) != record:
            self._pods.append(record)

    def _record_endpoints(self, _name: str, _facts: object) -> None:
        for name in list(self._pod_states.objects):
            self._record_pod(name)

    def _record_event(self, _name: str, facts: EventFacts | None) -> None:
        if self._recording and facts is not None:
            self._events.append(EventRecord(time=self._clock(), **asdict(facts)))


@contextmanager
def record(watch: Watch, api: ApiClient | None = None) -> Iterator[TimelineRecorder]:
    """Record the timeline of a Deployment, or of an InferenceService's predictor, while the block runs.

    The block starts after the first complete lists. At its end, a last list proves that no change is missing.

    Args:
        watch: The object.
        api: The client; by default of the current context, or of the pod that this process runs in.

    Raises:
        ConfigurationError: If the object does not exist, or the cluster denies a request.
        ServerError: If the cluster is unreachable or fails.
    """
    api = api or load_api_client()
    name, clock, condition = deployment_name(watch), _steady_clock(), threading.Condition()
    recorder = TimelineRecorder(name, clock)
    watchers = [
        Watcher(
            ResourceClient(api, resource, watch.namespace, name),
            recorder.reflectors[resource.plural],
            condition,
        )
        for resource in RESOURCES
    ]
    for watcher in watchers:
        listing = watcher.client.list(limit=1)
        if watcher.client.resource is DEPLOYMENTS and not listing["items"]:
            raise ConfigurationError(_describe_absent(watch))
    with ExitStack() as stack:
        for watcher in watchers:
            watcher.start()
            stack.callback(watcher.stop)
        with condition:
            condition.wait_for(
                lambda: recorder.synced or any(watcher.error for watcher in watchers), _SYNC_SECONDS
            )
            for watcher in watchers:
                if watcher.error is not None:
                    raise watcher.error
            for watcher in watchers:
                if not watcher.reflector.synced:
                    raise ServerError(
                        f"The cluster did not list {watcher.reflector.resource} in namespace "
                        f"'{watch.namespace}' within {_SYNC_SECONDS:g} s."
                    )
            recorder.begin()
        yield recorder
        for watcher in watchers:
            _close(watcher, condition)


def _close(watcher: Watcher, condition: threading.Condition) -> None:
    """End a reflection; a change that does not arrive is a gap."""
    reflector = watcher.reflector
    try:
        listing = watcher.client.list()
    except TidegateError:
        listing = None
    with condition:
        current = listing is not None and condition.wait_for(
            lambda: reflector.covers(listing), _CATCH_UP_SECONDS
        )
        reflector.close(current)


def _steady_clock() -> Callable[[], float]:
    """Return a clock in seconds of Unix time that a correction of the system's clock does not change."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


def _describe_absent(watch: Watch) -> str:
    if watch.deployment is not None:
        return (
            f"target.watch: the namespace '{watch.namespace}' has no Deployment '{watch.deployment}'; "
            "set its name and namespace."
        )
    return (
        f"target.watch: the namespace '{watch.namespace}' has no Deployment '{deployment_name(watch)}', "
        f"which KServe creates for the InferenceService '{watch.inference_service}' in Standard mode; set "
        "its name and namespace."
    )

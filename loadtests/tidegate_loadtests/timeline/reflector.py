# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The reflector: the state of one resource, from the list and the watch of Kubernetes' API.

It is the state machine of Kubernetes' own reflectors without their effects: callers send its requests and
report the responses. Bookmarks keep the resource version recent, so a watch that ends by its timeout resumes
without a gap. After an expired version or a lost connection, changes may be missing: the reflector lists
again and records the gap. It never guesses at the changes in a gap.
From Kubernetes API Concepts, "Efficient detection of changes" and "Streaming lists".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tidegate_loadtests.timeline.records import Gap

WATCH_SECONDS = 290
"""Duration of a watch, after which the API server ends it cleanly."""
WATCH_SILENCE_SECONDS = WATCH_SECONDS + 10.0
LIST_SILENCE_SECONDS = 10.0
"""The longest silence of a list, also of one that the API server streams."""

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_EXPIRED = 410
_UNSUPPORTED = (400, 422)
"""Status of an API server that does not know streaming lists."""

Object = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """The next request of a reflector: parameters of the client's list functions."""

    parameters: dict[str, Any]
    silence_seconds: float
    """The longest time without data, after which the connection counts as lost."""

    @property
    def watch(self) -> bool:
        """Whether the response is a stream of events."""
        return "watch" in self.parameters


class Reflector(Generic[T]):
    """The objects of one resource, by name.

    Args:
        resource: The resource's plural name.
        project: Returns the facts of an object; None if the object is of no interest.
        clock: Returns the time of a change and of a gap.
        on_change: Called with an object's name and its new facts; None if the object is gone.
    """

    def __init__(
        self,
        resource: str,
        project: Callable[[Object], T | None],
        clock: Callable[[], float],
        on_change: Callable[[str, T | None], None],
    ) -> None:
        self.resource = resource
        self.objects: dict[str, T] = {}
        self.synced = False
        """Whether the objects have been complete at least once."""
        self.gaps: list[Gap] = []
        self._project = project
        self._clock = clock
        self._on_change = on_change
        self._version: str | None = None
        self._streams_list = True
        self._listed: dict[str, T] | None = None
        """The objects of a streamed list that has not ended."""
        self._confirmed = clock()
        """The last time at which no change was missing, as far as the reflector knows."""
        self._lost_reason: str | None = None

    def next_request(self) -> Request:
        """Return the request to send now: a list, a streamed list, or a watch from the last version."""
        watch = {"watch": True, "allow_watch_bookmarks": True, "timeout_seconds": WATCH_SECONDS}
        if self._version is not None:
            return Request(watch | {"resource_version": self._version}, WATCH_SILENCE_SECONDS)
        if self._streams_list:
            self._listed = {}
            initial = {"send_initial_events": True, "resource_version_match": "NotOlderThan"}
            return Request(watch | initial, LIST_SILENCE_SECONDS)
        return Request({}, LIST_SILENCE_SECONDS)

    @property
    def listing(self) -> bool:
        """Whether a streamed list has not ended."""
        return self._listed is not None

    def receive_list(self, listing: Object) -> None:
        """Take the response to a list.

        Raises:
            ValueError: If it is not a list of Kubernetes.
        """
        try:
            version = str(listing["metadata"]["resourceVersion"])
            objects = {str(item["metadata"]["name"]): self._project(item) for item in listing["items"]}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a list of {self.resource}: {error!r}") from None
        self._version = version
        self._replace({name: facts for name, facts in objects.items() if facts is not None})

    def receive_event(self, event: Object) -> bool:
        """Take one event of a watch.

        Returns:
            Whether the watch goes on; otherwise :meth:`next_request` begins a new one.

        Raises:
            ValueError: If it is not an event of a watch.
        """
        try:
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                self.fail(int(item.get("code", 0)), str(item.get("message") or item.get("reason") or "ERROR"))
                return False
            metadata = item["metadata"]
            version = str(metadata["resourceVersion"])
            if kind == "BOOKMARK":
                ended = (metadata.get("annotations") or {}).get(_INITIAL_EVENTS_END) == "true"
                self._bookmark(version, ended)
                return True
            if kind not in ("ADDED", "MODIFIED", "DELETED"):
                raise ValueError(f"not an event of a watch: the type is {kind!r}")
            name = str(metadata["name"])
            facts = None if kind == "DELETED" else self._project(item)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an event of a watch: {error!r}") from None
        if self._listed is not None:
            if facts is None:
                self._listed.pop(name, None)
            else:
                self._listed[name] = facts
            return True
        self._version = version
        self._confirmed = self._clock()
        self._set(name, facts)
        return True

    def end(self) -> None:
        """Take the clean end of a watch.

        A server that ends a streamed list before its last bookmark does not support streamed lists.
        """
        if self._listed is not None:
            self._listed, self._streams_list = None, False
        elif self._version is not None:
            self._confirmed = self._clock()

    def fail(self, status: int, reason: str) -> None:
        """Take a failure: an error response, an error event, or a lost connection.

        Args:
            status: The HTTP status; 0 for a lost connection.
            reason: The failure in words.
        """
        if self._listed is not None and (status in _UNSUPPORTED or not status):
            self._streams_list = False
        if self._version is not None and self._lost_reason is None:
            self._lost_reason = "expired resource version" if status == _EXPIRED else reason
        self._version, self._listed = None, None

    def covers(self, listing: Object) -> bool:
        """Return whether the reflector holds exactly the objects of a list."""
        projected = {item["metadata"]["name"]: self._project(item) for item in listing["items"]}
        return self.objects == {name: facts for name, facts in projected.items() if facts is not None}

    def close(self, current: bool) -> None:
        """End the reflection.

        Args:
            current: Whether the objects are those of the API server now.
        """
        if self._lost_reason is not None or not current:
            self._record_gap(self._lost_reason or "changes were missing at the end of the recording")

    def _bookmark(self, version: str, initial_events_end: bool) -> None:
        if self._listed is not None:
            if initial_events_end:
                objects, self._listed = self._listed, None
                self._version = version
                self._replace(objects)
            return
        self._version = version
        self._confirmed = self._clock()

    def _replace(self, objects: dict[str, T]) -> None:
        """Take the complete objects of a list; a gap ends with it."""
        if self._lost_reason is not None:
            self._record_gap(self._lost_reason)
            self._lost_reason = None
        self._confirmed = self._clock()
        for name in self.objects.keys() - objects.keys():
            self._set(name, None)
        for name, facts in objects.items():
            self._set(name, facts)
        self.synced = True

    def _set(self, name: str, facts: T | None) -> None:
        if self.objects.get(name) == facts:
            return
        if facts is None:
            del self.objects[name]
        else:
            self.objects[name] = facts
        self._on_change(name, facts)

    def _record_gap(self, reason: str) -> None:
        self.gaps.append(Gap(self.resource, self._confirmed, self._clock(), reason))

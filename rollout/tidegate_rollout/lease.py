# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Lease of a rollout: one process at a time, the state as an annotation, and requests to the process.

The Lease is ``<release>-rollout``. Its holder renews it; a second process is rejected with the holder's name.
The lease ends with the holder's release of it, with its duration after the last renewal, or with the holder's
process if that ran on the same host. Every write names the version that it replaces, so a process that has
lost the lease cannot write. `coordination.k8s.io/v1
<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/>`_ is the specification.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tidegate.errors import ServerError
from tidegate.kubernetes.pods import Object

DURATION_SECONDS = 60
RENEW_SECONDS = 10.0
STATE = "tidegate/rollout-state"
REQUEST = "tidegate/rollout-request"
"""Annotations: the state, and the action that another process requests from the holder."""
MICRO_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
"""The format of Kubernetes' MicroTime, in UTC."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LeaseHeldError(ServerError):
    """A rollout that another process controls: worth a retry after the lease."""


class LeaseLostError(ServerError):
    """A lease that another process has taken over."""


class ConflictError(Exception):
    """A write that names an older version than the API server's."""


class LeaseStore(Protocol):
    """The API server's Leases of one namespace."""

    def get(self, name: str) -> Object | None:
        """Return a Lease; None if it does not exist."""

    def create(self, body: Object) -> Object:
        """Create a Lease. Raises ConflictError if it exists."""

    def replace(self, body: Object) -> Object:
        """Replace a Lease. Raises ConflictError if it has another version."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process: ``<host>/<process id>``. The host has its boot's id, because two hosts can have one name."""

    host: str
    process: int

    @classmethod
    def of_this_process(cls) -> "Identity":
        """Return the identity of this process."""
        boot = _BOOT_ID.read_text()[:8] if _BOOT_ID.is_file() else "0"
        return cls(f"{socket.gethostname()}-{boot}", os.getpid())

    @classmethod
    def parse(cls, text: str) -> "Identity | None":
        """Parse an identity; None if another program wrote it.

        >>> Identity.parse("laptop/4711")
        Identity(host='laptop', process=4711)
        """
        host, _, process = text.rpartition("/")
        return cls(host, int(process)) if host and process.isdigit() else None

    def __str__(self) -> str:
        return f"{self.host}/{self.process}"


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The content of a Lease."""

    holder: str
    renewed_at: datetime | None
    seconds: int
    state: str | None
    request: str | None

    @classmethod
    def parse(cls, lease: Object) -> "LeaseRecord":
        """Parse an object of the API server."""
        spec, annotations = lease.get("spec") or {}, lease["metadata"].get("annotations") or {}
        renewed = spec.get("renewTime")
        return cls(
            holder=spec.get("holderIdentity") or "",
            renewed_at=None if renewed is None else datetime.fromisoformat(renewed),
            seconds=spec.get("leaseDurationSeconds") or DURATION_SECONDS,
            state=annotations.get(STATE),
            request=annotations.get(REQUEST),
        )

    def remaining_seconds(self, now: datetime) -> float:
        """Return for how long the lease holds; 0 without a holder."""
        if not self.holder or self.renewed_at is None:
            return 0.0
        return max(0.0, self.seconds - (now - self.renewed_at).total_seconds())


class RolloutLease:
    """The Lease of one release.

    Args:
        store: The Leases of the release's namespace.
        release: The name of the release's InferenceService.
        identity: This process.
        clock: The time.
        is_alive: Whether a process of this host still runs.
    """

    def __init__(
        self,
        store: LeaseStore,
        release: str,
        identity: Identity,
        *,
        clock: Callable[[], datetime],
        is_alive: Callable[[int], bool],
    ) -> None:
        self._store = store
        self._release = release
        self._identity = identity
        self._clock = clock
        self._is_alive = is_alive
        self._held: Object = {}

    @property
    def name(self) -> str:
        """The Lease's name."""
        return f"{self._release}-rollout"

    def read(self) -> LeaseRecord | None:
        """Return the content; None without a rollout so far."""
        lease = self._store.get(self.name)
        return None if lease is None else LeaseRecord.parse(lease)

    def acquire(self) -> LeaseRecord:
        """Take the lease, and return its content.

        Raises:
            LeaseHeldError: If another process holds it.
        """
        lease = self._store.get(self.name)
        try:
            if lease is None:
                labels = {
                    "app.kubernetes.io/name": "tidegate",
                    "app.kubernetes.io/managed-by": "tidegate-rollout",
                }
                lease = self._store.create(
                    {
                        "apiVersion": "coordination.k8s.io/v1",
                        "kind": "Lease",
                        "metadata": {"name": self.name, "labels": labels},
                        "spec": self._spec({}, acquire=True),
                    }
                )
            else:
                self._reject_if_held(LeaseRecord.parse(lease))
                lease = self._store.replace(
                    {**lease, "spec": self._spec(lease.get("spec") or {}, acquire=True)}
                )
        except ConflictError:
            raise LeaseHeldError(
                f"Another process has started a rollout of {self._release} at the same moment: run 'tidegate "
                f"rollout status {self._release}'."
            ) from None
        self._held = lease
        return LeaseRecord.parse(lease)

    def save(self, state: str, *, handled: str | None = None) -> None:
        """Write the state and renew the lease.

        Args:
            state: The state as JSON.
            handled: A request that the state now contains, which is removed.

        Raises:
            LeaseLostError: If another process has taken the lease.
        """

        def changed(lease: Object) -> Object:
            annotations = {**(lease["metadata"].get("annotations") or {}), STATE: state}
            if annotations.get(REQUEST) == handled:
                annotations.pop(REQUEST, None)
            metadata = {**lease["metadata"], "annotations": annotations}
            return {**lease, "metadata": metadata, "spec": self._spec(lease["spec"])}

        self._write(changed)

    def keep(self) -> None:
        """Renew the lease if this process has it and it is due.

        Raises:
            LeaseLostError: If another process has taken the lease.
        """
        if not self._held:
            return
        record = LeaseRecord.parse(self._held)
        if record.seconds - record.remaining_seconds(self._clock()) >= RENEW_SECONDS:
            self._write(lambda lease: {**lease, "spec": self._spec(lease["spec"])})

    def renew(self) -> str | None:
        """Renew the lease if it is due, and return the request of another process.

        Raises:
            LeaseLostError: If another process has taken the lease.
        """
        self._refresh()
        self.keep()
        return LeaseRecord.parse(self._held).request

    def release(self) -> None:
        """End the lease, so that another process need not wait for its end."""

        def changed(lease: Object) -> Object:
            return {**lease, "spec": {**lease["spec"], "holderIdentity": ""}}

        self._write(changed)
        self._held = {}

    def request(self, action: str) -> None:
        """Request an action from the holder.

        Raises:
            LeaseLostError: If the Lease changed at the same moment; worth a retry.
        """
        lease = self._store.get(self.name)
        assert lease is not None, "a lease has a holder"
        annotations = {**(lease["metadata"].get("annotations") or {}), REQUEST: action}
        try:
            self._store.replace({**lease, "metadata": {**lease["metadata"], "annotations": annotations}})
        except ConflictError:
            raise LeaseLostError(f"The Lease {self.name} changed at the same moment: try again.") from None

    def _reject_if_held(self, record: LeaseRecord) -> None:
        remaining = record.remaining_seconds(self._clock())
        holder = Identity.parse(record.holder)
        ended = (
            holder is not None
            and holder.host == self._identity.host
            and (holder == self._identity or not self._is_alive(holder.process))
        )
        if remaining and not ended:
            raise LeaseHeldError(
                f"The rollout of {self._release} is controlled by {record.holder}: watch it with 'tidegate "
                f"rollout status {self._release}', end it with 'tidegate rollout abort {self._release}', or, "
                f"if that process was killed, try again in {remaining:.0f} s."
            )

    def _write(self, change: Callable[[Object], Object]) -> None:
        """Write a change; once more if only a request came in between."""
        try:
            self._held = self._store.replace(change(self._held))
        except ConflictError:
            self._refresh()
            try:
                self._held = self._store.replace(change(self._held))
            except ConflictError:
                raise LeaseLostError(
                    f"The Lease {self.name} changes faster than it can be renewed."
                ) from None

    def _refresh(self) -> None:
        lease = self._store.get(self.name)
        holder = "no process" if lease is None else LeaseRecord.parse(lease).holder or "no process"
        if lease is None or holder != str(self._identity):
            raise LeaseLostError(
                f"The rollout of {self._release} is now controlled by {holder}: this process ends, and the "
                "release stays as that one leaves it."
            )
        self._held = lease

    def _spec(self, spec: Object, *, acquire: bool = False) -> dict[str, Any]:
        now = self._clock().astimezone(UTC).strftime(MICRO_TIME)
        renewed = {
            **spec,
            "holderIdentity": str(self._identity),
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": now,
        }
        if acquire:
            transitions = int(spec.get("leaseTransitions") or 0)
            renewed |= {"acquireTime": now, "leaseTransitions": transitions + bool(spec)}
        return renewed


def is_process_alive(process: int) -> bool:
    """Return whether a process of this host runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

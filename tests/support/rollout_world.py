# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated release for the rollout's controller: Helm, objects of the cluster, pods with counters, Leases.

Time passes only when the controller sleeps. Both tracks serve requests at their weights, so that the counters
of the pods are those of a Gateway. Before and after each effect that writes, the world can keep a copy of
itself: the state in which a process that is killed there leaves it.
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.support.fakes import FakeClock
from tidegate.errors import ServerError
from tidegate_rollout.controller import Effects
from tidegate_rollout.helm import merge
from tidegate_rollout.lease import ConflictError, Identity, RolloutLease
from tidegate_rollout.machine import Action
from tidegate_rollout.plan import RolloutValues
from tidegate_rollout.policy import RolloutPolicy
from tidegate_rollout.release import Release, Track
from tidegate_rollout.session import Session
from tidegate_rollout.state import RolloutState
from tidegate_rollout.verdict import Verdict

Object = dict[str, Any]
OLD, NEW, OLDER = "a" * 64, "b" * 64, "c" * 64
BOUNDS = (0.01, 0.05, 0.1, 0.25)
HOST = "laptop-1"
POLICY = RolloutPolicy.model_validate(
    {
        "steps": [{"mirror": 10}, {"weight": 5}, {"weight": 50}],
        "settle_seconds": 4,
        "block_seconds": 10,
        "min_seconds": 10,
        "min_requests": 10,
        "max_seconds": 60,
    }
)


@dataclass
class FakeTrack:
    """The behaviour of a track's pods."""

    error_ratio: float = 0.0
    slow_ratio: float = 0.0
    swapped: bool = False
    """Whether its labels are wrong."""
    starts: bool = True
    """Whether its pods become ready."""
    fails_with: str = ""
    """A digest with which its pods never become ready."""


@dataclass
class FakeLeases:
    """Leases with versions."""

    on_write: Callable[[], None]
    objects: dict[str, Object] = field(default_factory=dict)

    def get(self, name: str) -> Object | None:
        return copy.deepcopy(self.objects.get(name))

    def create(self, body: Mapping[str, Any]) -> Object:
        if body["metadata"]["name"] in self.objects:
            raise ConflictError
        return self._write(body, 1)

    def replace(self, body: Mapping[str, Any]) -> Object:
        stored = self.objects[body["metadata"]["name"]]["metadata"]["resourceVersion"]
        if body["metadata"]["resourceVersion"] != stored:
            raise ConflictError
        return self._write(body, int(stored) + 1)

    def _write(self, body: Mapping[str, Any], version: int) -> Object:
        self.on_write()
        stored = json.loads(json.dumps(body))
        stored["metadata"]["resourceVersion"] = str(version)
        self.objects[body["metadata"]["name"]] = stored
        self.on_write()
        return copy.deepcopy(stored)


class World:
    """A release with the digest ``OLD``, and the traffic of its Gateway.

    Args:
        rate: Requests per second.
        stable: The stable track's behaviour.
        canary: The canary's.
        maximum: The autoscalers' maximum of replicas.
    """

    def __init__(
        self,
        *,
        rate: float = 400.0,
        stable: FakeTrack | None = None,
        canary: FakeTrack | None = None,
        maximum: int = 4,
    ) -> None:
        self.clock = FakeClock(1_000_000.0)
        self.rate = rate
        self.tracks = {"stable": stable or FakeTrack(), "canary": canary or FakeTrack()}
        self.values: Object = {
            "model": {"digest": f"sha256:{OLD}", "previous": [OLDER]},
            "canary": {
                "digest": "",
                "weight": 0,
                "mirrorPercent": 0,
                "splitByReplicas": False,
                "minReplicas": None,
                "maxReplicas": None,
            },
            "capacity": {"digest": "", "allowOtherDigest": False},
            "autoscaling": {"type": "hpa", "minReplicas": 2, "maxReplicas": maximum},
            "route": {"enabled": True},
            "service": {"enabled": False},
            "server": {"pairsSampleRate": 1.0},
        }
        self.status = "deployed"
        self.upgrades: list[tuple[str, RolloutValues]] = []
        self.leases = FakeLeases(self._keep)
        self.counts = {
            lane: {"requests": 0.0, "errors": 0.0, "slow": 0.0} for lane in ("stable", "canary", "shadow")
        }
        self.metrics_port = 8080
        self.route: Object | None = None
        self.lines: list[str] = []
        self.replayed: dict[str, list[str]] = {}
        """By track, the ids of the requests of a replay."""
        self.on_sleep: Callable[[], None] = lambda: None
        self.copies: list[World] | None = None
        """The world before and after each write; None to keep no copies."""

    @property
    def rollout_values(self) -> RolloutValues:
        """The release's values that a rollout changes."""
        return RolloutValues.parse(self.values)

    def session(self, process: int = 1, *, alive: bool = False) -> Session:
        """Return the access of a new process, on a host where no other process runs unless ``alive``."""
        lease = RolloutLease(
            self.leases,
            "iris",
            Identity(HOST, process),
            clock=lambda: datetime.fromtimestamp(self.clock(), UTC),
            is_alive=lambda _: alive,
        )
        effects = Effects(
            helm=self,
            read_release=self.read_release,
            get=self.get,
            store=lease,
            report=self,
            clock=self.clock,
            sleep=self.sleep,
        )
        return Session("iris", "models", effects, lease, self.post)

    # Helm

    def verify_version(self) -> None:
        """Accept the version."""

    def verify_chart(self) -> None:
        """Accept the chart."""

    def deployed_values(self) -> Object | None:
        return _without_nulls(self.values) if self.status == "deployed" else None

    def upgrade(self, values: Mapping[str, Any], description: str) -> None:
        self._keep()
        self.values = merge(self.values, values)
        self.upgrades.append((description.rpartition(": ")[2], self.rollout_values))
        self._keep()

    @property
    def variables(self) -> list[Object]:
        """The environment of the server's container."""
        port = {"name": "TIDEGATE_METRICS_PORT", "value": str(self.metrics_port)}
        return [{"name": "POD_NAME", "valueFrom": {}}, *([port] if self.metrics_port != 8080 else [])]

    # The cluster

    def read_release(self) -> Release:
        values = self.rollout_values
        tracks = [self._track("stable", values.digest, values.min_replicas)]
        if values.canary_digest:
            minimum = values.canary_min_replicas or values.min_replicas
            tracks.append(self._track("canary", values.canary_digest, minimum))
        return Release("iris", "models", tuple(tracks), self.route)

    def get(self, pod: str, port: int, path: str) -> str:
        track = pod.split("-")[0]
        if path == "/metrics":
            assert port == self.metrics_port
            lanes = {"": track} | ({"_shadow": "shadow"} if track == "canary" else {})
            return "".join(_page(name, self.counts[lane]) for name, lane in lanes.items())
        assert port == 8085, path
        after = int(path.removeprefix("/pairs?after="))
        replayed = self.replayed.get(track, [])
        keys = replayed or [f"{number:x}" for number in range(int(self.counts["shadow"]["requests"]))]
        count = len(keys)
        label = "no" if self.tracks[track].swapped else "yes"
        samples = [[key, label, label, 0.75] for key in keys[after:]]
        return json.dumps({"digest": OLD, "epoch": track, "next": count, "samples": samples})

    def post(self, pod: str, port: int, path: str, body: bytes, request_id: str) -> None:
        """Serve a request of a replay, and keep its sample."""
        assert (port, path) == (8080, "/v2/models/iris/infer"), (port, path)
        track = pod.split("-")[0]
        self.replayed.setdefault(track, []).append(request_id)
        self.counts[track]["requests"] += 1

    def sleep(self, seconds: float) -> None:
        """Let the Gateway send requests for some seconds."""
        self.clock.advance(seconds)
        values, total = self.rollout_values, self.rate * seconds
        weight = float(values.weight)
        if values.split_by_replicas:
            replicas = values.canary_min_replicas or values.min_replicas
            weight = 100 * replicas / (replicas + values.min_replicas)
        if values.canary_digest:
            self._serve("canary", "canary", total * weight / 100)
            self._serve("shadow", "canary", total * values.mirror_percent / 100)
        self._serve("stable", "stable", total * (100 - weight) / 100)
        self.on_sleep()

    # The progress

    def notice(self, text: str) -> None:
        self.lines.append(text)

    def waiting(self, state: RolloutState, reason: str) -> None:
        self.lines.append(f"{state.step}: {reason}")

    def acted(self, before: RolloutState, action: Action, after: RolloutState) -> None:
        self.lines.append(f"{before.step}: {action}")

    def measured(self, state: RolloutState, verdict: Verdict) -> None:
        self.lines.append(f"{state.step}: {verdict.outcome}")

    def _serve(self, lane: str, track: str, requests: float) -> None:
        counts, behaviour = self.counts[lane], self.tracks[track]
        counts["requests"] += requests
        counts["errors"] += requests * behaviour.error_ratio
        counts["slow"] += requests * behaviour.slow_ratio

    def _track(self, name: str, digest: str, minimum: int) -> Track:
        service = "iris" if name == "stable" else "iris-canary"
        ready = self.tracks[name].starts and digest != self.tracks[name].fails_with
        checksum = {"annotations": {"checksum/pods": digest}}
        replicas = minimum if ready else 0
        return Track(
            name=name,
            service={
                "metadata": {"name": service, "annotations": {}},
                "spec": {
                    "predictor": {
                        **checksum,
                        "containers": [{"name": "kserve-container", "args": ["--digest", digest]}],
                    }
                },
            },
            deployment={
                "metadata": {"generation": 1},
                "spec": {"replicas": minimum, "template": {"metadata": checksum}},
                "status": {
                    "observedGeneration": 1,
                    "replicas": minimum,
                    "updatedReplicas": replicas,
                    "availableReplicas": replicas,
                },
            },
            autoscaler={
                "spec": {"minReplicas": minimum, "maxReplicas": self.values["autoscaling"]["maxReplicas"]}
            },
            scaled_object=None,
            replica_sets=(),
            pods=(
                {
                    "metadata": {"name": f"{name}-1"},
                    "spec": {"containers": [{"name": "kserve-container", "env": self.variables}]},
                    "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
                },
            ),
        )

    def _keep(self) -> None:
        if (copies := self.copies) is not None:
            self.copies = None
            copies.append(copy.deepcopy(self))
            self.copies = copies


class Unreachable:
    """A way to the pods of a cluster that is unreachable."""

    def __call__(self, pod: str, port: int, path: str) -> str:
        raise ServerError(f"GET {path} on port {port} failed: timed out")


def _without_nulls(values: Mapping[str, Any]) -> Object:
    """Return values as ``helm get values --all`` prints them: a null removes its key."""
    return {
        key: _without_nulls(value) if isinstance(value, Mapping) else copy.deepcopy(value)
        for key, value in values.items()
        if value is not None
    }


def _page(lane: str, counts: Mapping[str, float]) -> str:
    requests, errors, slow = (int(counts[name]) for name in ("requests", "errors", "slow"))
    codes = f'tidegate{lane}_requests_total{{protocol="v2",code="%s"}} %d\n'
    buckets = f'tidegate{lane}_request_duration_seconds_bucket{{protocol="v2",le="%s"}} %d\n'
    bounds = [(bound, requests - slow) for bound in BOUNDS] + [("+Inf", requests)]
    return (
        codes % ("200", requests - errors)
        + codes % ("500", errors)
        + "".join(buckets % bound for bound in bounds)
    )

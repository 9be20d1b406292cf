# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a release serves what was asked of it, and if not, what it still waits for.

Helm's ``--wait`` and kstatus look at the InferenceService, whose generation and readiness say little: Ready
stays true in the middle of a rollout, and every resize moves the generation. What counts is that the
Deployment has the InferenceService's pod template, that all its pods are new and available, and that the
route is accepted. Pure functions: the cluster is read elsewhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rollout.release import Release, Track
from tidegate.pods import Object, ends_of, said_by, statuses, trouble

CONTAINER = "kserve-container"
POD_PARTS = (
    "affinity",
    "containers",
    "imagePullSecrets",
    "initContainers",
    "nodeSelector",
    "priorityClassName",
    "securityContext",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
)
"""What a predictor's specification passes on to its pods."""
REFUSED = 2
"""The exit code of a server or puller that will never start with this bundle and this configuration."""


@dataclass(frozen=True, slots=True)
class TrackStatus:
    """What a track serves, and what it waits for; it is ready when it waits for nothing."""

    track: str
    digest: str
    replicas: int
    """Pods that are available with the wanted template."""
    wanted: int
    weight: int | None
    """Its share of the route in percent; None without a route."""
    waiting: tuple[str, ...]
    refusal: str | None
    """Why its pods will never start, if they said so."""


@dataclass(frozen=True, slots=True)
class Status:
    """A release's tracks and what its route waits for."""

    release: str
    tracks: tuple[TrackStatus, ...]
    route_waiting: tuple[str, ...]

    @property
    def waiting(self) -> tuple[str, ...]:
        """Everything that is still missing, in words; empty when the release is ready."""
        return (*(f"{t.track}: {reason}" for t in self.tracks for reason in t.waiting), *self.route_waiting)

    @property
    def refusal(self) -> str | None:
        """Why waiting is of no use, if it is not."""
        return next((f"{t.track}: {t.refusal}" for t in self.tracks if t.refusal is not None), None)


def assess(release: Release) -> Status:
    """Judge a release."""
    tracks = tuple(_assess(track, _weight(release.route, track)) for track in release.tracks)
    return Status(release.name, tracks, tuple(_route_waiting(release.route)))


def _assess(track: Track, weight: int | None) -> TrackStatus:
    wanted = _container(track.service["spec"]["predictor"])
    digest = _digest(wanted)
    deployment, status = track.deployment, (track.deployment or {}).get("status", {})
    # Pods of an older template may be failing for reasons that are already mended.
    current = [pod for pod in track.pods if _digest(_container(pod["spec"])) == digest]
    return TrackStatus(
        track=track.name,
        digest=digest,
        replicas=min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0)),
        wanted=max(_least(track), (deployment or {}).get("spec", {}).get("replicas", 0)),
        weight=weight,
        waiting=tuple(_waiting(track)) + tuple(why for pod in current if (why := trouble(pod))),
        refusal=next((said for pod in current if (said := _refusal(pod)) is not None), None),
    )


def _waiting(track: Track) -> Iterator[str]:
    deployment = track.deployment
    if deployment is None:
        yield "KServe has not made its Deployment yet"
        return
    spec, status = deployment["spec"], deployment.get("status", {})
    if not covers(spec["template"]["spec"], _pod_spec(track.service)):
        yield "KServe has not given the Deployment its new pod template yet"
        return
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        yield "Kubernetes has not seen the newest Deployment yet"
        return
    replicas = spec.get("replicas", 1)
    if replicas < (least := _least(track)):
        yield f"its autoscaler has not raised it to {least} replicas yet"
    if (updated := status.get("updatedReplicas", 0)) < replicas:
        yield f"{updated} of {replicas} pods are new"
    if (old := status.get("replicas", 0) - updated) > 0:
        yield f"{old} old pods are still there"
    if (available := status.get("availableReplicas", 0)) < replicas:
        yield f"{available} of {replicas} pods are available"


def covers(actual: Any, wanted: Any) -> bool:
    """Whether an object has all that was asked of it, whatever webhooks and defaults added.

    Lists of named parts, such as containers, are compared by name, other lists item by item.

    >>> covers({"a": 1, "b": [{"name": "x", "c": 2, "d": 3}]}, {"b": [{"name": "x", "c": 2}]})
    True
    """
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(covers(actual.get(k), part) for k, part in wanted.items())
    if not isinstance(wanted, list):
        return bool(actual == wanted)
    if not isinstance(actual, list):
        return False
    if all(isinstance(part, Mapping) and "name" in part for part in (*wanted, *actual)):
        named = {part["name"]: part for part in actual}
        return all(covers(named.get(part["name"]), part) for part in wanted)
    return len(actual) == len(wanted) and all(map(covers, actual, wanted))


def _pod_spec(service: Object) -> Object:
    """What an InferenceService asks of its pods."""
    predictor = service["spec"]["predictor"]
    return {part: predictor[part] for part in POD_PARTS if part in predictor}


def _least(track: Track) -> int:
    """The fewest replicas that the track is to have."""
    if track.autoscaler is not None:
        return int(track.autoscaler["spec"].get("minReplicas", 1))
    return int(track.service["spec"]["predictor"].get("minReplicas", 1))


def _route_waiting(route: Object | None) -> Iterator[str]:
    if route is None:
        return
    parents = route.get("status", {}).get("parents", [])
    if not parents:
        yield "route: no Gateway has taken it yet"
    for parent in parents:
        for condition in parent["conditions"]:
            stale = condition.get("observedGeneration", 0) < route["metadata"]["generation"]
            if condition["type"] in ("Accepted", "ResolvedRefs") and (stale or condition["status"] != "True"):
                said = "not seen yet" if stale else condition["message"].rstrip(".")
                yield f"route: {condition['type']} by {parent['parentRef']['name']}: {said}"


def _weight(route: Object | None, track: Track) -> int | None:
    if route is None:
        return None
    backend = f"{track.service['metadata']['name']}-predictor"
    references = route["spec"]["rules"][0]["backendRefs"]  # all rules have the same
    return sum(int(reference.get("weight", 1)) for reference in references if reference["name"] == backend)


def _container(pod_spec: Object) -> Object:
    found: Object = next(c for c in pod_spec["containers"] if c["name"] == CONTAINER)
    return found


def _digest(container: Object) -> str:
    arguments = list(container.get("args", []))
    return str(arguments[arguments.index("--digest") + 1]) if "--digest" in arguments[:-1] else ""


def _refusal(pod: Object) -> str | None:
    """What a container said that ended with the code for 'this will never work'."""
    for container in statuses(pod):
        if any(end.get("exitCode") == REFUSED for end in ends_of(container)):
            return said_by(container) or f"{container['name']} exited with {REFUSED}"
    return None

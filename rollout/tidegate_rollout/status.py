# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a release serves what was asked of it, and if not, what it still waits for.

Helm's ``--wait`` and kstatus look at the InferenceService, whose generation and readiness say little: Ready
stays true in the middle of a rollout, and every resize moves the generation. What counts is that the
Deployment has the InferenceService's pod template, which their checksums tell, that all its pods are new and
available, that what scales it is there, and that the route is accepted. It compares no pods field by field:
Kubernetes, KServe and webhooks add to them, and what was taken away would not be missed. Pure functions: the
cluster is read elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tidegate.kubernetes.pods import Object, ends_of, said_by, statuses, trouble
from tidegate_rollout.release import Release, Track

CONTAINER = "kserve-container"
CHECKSUM = "checksum/pods"
"""The annotation in which the chart sums up what a track's pods are made of; KServe passes it on to them."""
AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
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
    """A release's tracks, and what is missing beside them: in its route, or an answer of the cluster."""

    release: str
    tracks: tuple[TrackStatus, ...]
    besides: tuple[str, ...]

    @property
    def waiting(self) -> tuple[str, ...]:
        """Everything that is still missing, in words; empty when the release is ready."""
        return (*(f"{t.track}: {reason}" for t in self.tracks for reason in t.waiting), *self.besides)

    @property
    def refusal(self) -> str | None:
        """Why waiting is of no use, if it is not."""
        return next((f"{t.track}: {t.refusal}" for t in self.tracks if t.refusal is not None), None)


def assess(release: Release) -> Status:
    """Judge a release."""
    tracks = tuple(_assess(track, _weight(release.route, track)) for track in release.tracks)
    return Status(release.name, tracks, tuple(_route_waiting(release.route)))


def _assess(track: Track, weight: int | None) -> TrackStatus:
    predictor = track.service["spec"]["predictor"]
    deployment, status = track.deployment, (track.deployment or {}).get("status", {})
    # Pods of an older template may be failing for reasons that are already mended.
    current = [pod for pod in track.pods if _checksum(pod["metadata"]) == _checksum(predictor)]
    return TrackStatus(
        track=track.name,
        digest=_digest(_container(predictor)),
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
    wanted = _checksum(track.service["spec"]["predictor"])
    if wanted is None:
        yield f"it has no annotation {CHECKSUM} to wait by: upgrade the release with this version's chart"
        return
    if _checksum(spec["template"].get("metadata", {})) != wanted:
        yield "KServe has not given the Deployment its new pod template yet"
        return
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        yield "Kubernetes has not seen the newest Deployment yet"
        return
    # Without one the track has one replica, which is also what an autoscaler that wants one would leave.
    classes = track.service["metadata"].get("annotations", {})
    if track.autoscaler is None and classes.get(AUTOSCALER_CLASS) == "external":
        yield "its autoscaler is not there yet"
    replicas = spec.get("replicas", 1)
    if replicas < (least := _least(track)):
        yield f"its autoscaler has not raised it to {least} replicas yet"
    if (updated := status.get("updatedReplicas", 0)) < replicas:
        yield f"{updated} of {replicas} pods are new"
    if (old := status.get("replicas", 0) - updated) > 0:
        yield f"{old} old pods are still there"
    if (available := status.get("availableReplicas", 0)) < replicas:
        yield f"{available} of {replicas} pods are available"


def _checksum(part: Object) -> str | None:
    """The checksum that a predictor, a pod template's metadata or a pod's metadata carries."""
    found: str | None = part.get("annotations", {}).get(CHECKSUM)
    return found


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

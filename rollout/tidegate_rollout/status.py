# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The status of a release: whether it serves its desired state, and which conditions are pending.

Helm's ``--wait`` and kstatus look at the InferenceService, and that is not enough. Its Ready condition stays
true during a rollout, and its generation changes at every resize. A track is ready if

- its Deployment has the InferenceService's pod template, which a checksum identifies,
- all pods of the Deployment are new and available,
- its autoscaler exists, and
- the route is accepted.

KServe and the ReplicaSet's controller retry for ever if the API server rejects an object. Their conditions
have the reason, and the status reports it.

Pods are not compared field by field, because Kubernetes, KServe and webhooks add fields, and a removed field
would go unnoticed. All functions are pure; :mod:`tidegate_rollout.release` reads the cluster.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tidegate.errors import ExitCode
from tidegate.kubernetes.pods import (
    Object,
    condition,
    container_statuses,
    terminated_states,
    termination_message,
    waiting_reason,
)
from tidegate_rollout.rejection import Rejection
from tidegate_rollout.release import Release, Track

CONTAINER = "kserve-container"
BUNDLE_CONTAINER = "storage-initializer"
CHECKSUM = "checksum/pods"
"""The annotation with a checksum of the pods' inputs. The chart sets it, and KServe copies it to pods."""
AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"


@dataclass(frozen=True, slots=True)
class TrackStatus:
    """A track's bundle, replicas and pending conditions; it is ready if no condition is pending."""

    track: str
    digest: str
    replicas: int
    """Available pods with the desired template."""
    desired: int
    weight: int | None
    """The percentage of the route's requests; None without a route."""
    pending: tuple[str, ...]
    error: str | None
    """Why waiting is useless, such as a container's exit code or a rejection that a retry repeats."""


@dataclass(frozen=True, slots=True)
class Status:
    """A release's tracks, and the pending conditions that belong to no track: of the route or the cluster."""

    release: str
    tracks: tuple[TrackStatus, ...]
    release_pending: tuple[str, ...]

    @property
    def pending(self) -> tuple[str, ...]:
        """All pending conditions; empty if the release is ready."""
        return (*(f"{t.track}: {reason}" for t in self.tracks for reason in t.pending), *self.release_pending)

    @property
    def error(self) -> str | None:
        """Why the release will never be ready; None unless a track has an error."""
        return next((f"{t.track}: {t.error}" for t in self.tracks if t.error is not None), None)


def assess(release: Release) -> Status:
    """Compare a release's objects with its desired state."""
    tracks = tuple(_assess(track, _weight(release.route, track)) for track in release.tracks)
    return Status(release.name, tracks, tuple(_route_pending(release.route)))


def model_name(release: Release) -> str:
    """Return the model's name in requests, which both tracks have."""
    return _argument(_container(release.tracks[0].service["spec"]["predictor"]), "--name")


def _assess(track: Track, weight: int | None) -> TrackStatus:
    predictor = track.service["spec"]["predictor"]
    deployment, status = track.deployment, (track.deployment or {}).get("status", {})
    # The reasons of pods with an older template may be fixed in the new template.
    pods = [pod for pod in track.pods if _checksum(pod["metadata"]) == _checksum(predictor)]
    reasons = (reason for pod in pods if (reason := waiting_reason(pod)) is not None)
    rejections = tuple(_rejections(track))
    scaling_errors = tuple(_scaling_errors(track))
    errors = (
        *(
            f"{action}: {rejection.message}; {rejection.fix}"
            for action, rejection in rejections
            if rejection.fix
        ),
        *scaling_errors,
        *filter(None, map(_permanent_error, pods)),
    )
    return TrackStatus(
        track=track.name,
        digest=_digest(_container(predictor)),
        replicas=min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0)),
        desired=max(_min_replicas(track), (deployment or {}).get("spec", {}).get("replicas", 0)),
        weight=weight,
        pending=(
            *(f"{action}: {rejection.message}" for action, rejection in rejections),
            *_deployment_pending(track),
            *reasons,
            *scaling_errors,
        ),
        error=next(iter(errors), None),
    )


def _rejections(track: Track) -> Iterator[tuple[str, Rejection]]:
    """Yield the actions that the API server rejects, each with its rejection."""
    predictor = condition(track.service, "PredictorReady")
    if predictor.get("reason") == "ReconcileFailed":
        yield "KServe cannot create its objects", Rejection.parse(predictor["message"])
    # The Deployment's condition can be that of an older ReplicaSet, whose template may be fixed since.
    desired = _checksum(track.service["spec"]["predictor"])
    for replica_set in track.replica_sets:
        failure, template = condition(replica_set, "ReplicaFailure"), replica_set["spec"]["template"]
        if failure.get("status") == "True" and _checksum(template["metadata"]) == desired:
            rejection = Rejection.parse(failure["message"])
            # The condition keeps its first message. If a pod was created since, the template is not at fault.
            if replica_set["status"].get("replicas", 0) > 0:
                yield (
                    "Kubernetes cannot create all its pods, at first because of",
                    replace(rejection, fix=None),
                )
            else:
                yield "Kubernetes cannot create its pods", rejection


def _deployment_pending(track: Track) -> Iterator[str]:
    deployment = track.deployment
    if deployment is None:
        yield "KServe has not created its Deployment yet"
        return
    spec, status = deployment["spec"], deployment.get("status", {})
    desired = _checksum(track.service["spec"]["predictor"])
    if desired is None:
        yield f"it has no annotation {CHECKSUM} to compare: upgrade the release with this version's chart"
        return
    if _checksum(spec["template"].get("metadata", {})) != desired:
        yield "KServe has not given the Deployment its new pod template yet"
        return
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        yield "Kubernetes has not observed the newest Deployment yet"
        return
    # Without an autoscaler the track has one replica, which an autoscaler at its minimum may have as well.
    annotations = track.service["metadata"].get("annotations", {})
    if track.autoscaler is None and annotations.get(AUTOSCALER_CLASS) == "external":
        yield "its autoscaler does not exist yet"
    replicas = spec.get("replicas", 1)
    if replicas < (minimum := _min_replicas(track)):
        yield f"its autoscaler has not scaled it to {minimum} replicas yet"
    if (updated := status.get("updatedReplicas", 0)) < replicas:
        yield f"{updated} of {replicas} pods are new"
    if (old := status.get("replicas", 0) - updated) > 0:
        yield f"{old} old pods still exist"
    if (available := status.get("availableReplicas", 0)) < replicas:
        yield f"{available} of {replicas} pods are available"


def _scaling_errors(track: Track) -> Iterator[str]:
    """Yield the consequence of a field that the cluster's KEDA does not have."""
    fallback = (track.scaled_object or {}).get("spec", {}).get("fallback")
    if fallback is not None and "behavior" not in fallback:
        yield (
            "its ScaledObject has lost fallback.behavior, which KEDA before 2.17 does not have, so the "
            f"replicas fall to {fallback['replicas']} while the metric is missing: upgrade KEDA with its "
            "custom resource definitions, or set autoscaling.type to hpa"
        )


def _checksum(annotated: Object) -> str | None:
    """Return the checksum annotation of a predictor, of a pod template's metadata or of a pod's metadata."""
    checksum: str | None = annotated.get("annotations", {}).get(CHECKSUM)
    return checksum


def _min_replicas(track: Track) -> int:
    """Return the minimum of the autoscaler, or of the InferenceService without one."""
    if track.autoscaler is not None:
        return int(track.autoscaler["spec"].get("minReplicas", 1))
    return int(track.service["spec"]["predictor"].get("minReplicas", 1))


def _route_pending(route: Object | None) -> Iterator[str]:
    if route is None:
        return
    parents = route.get("status", {}).get("parents", [])
    if not parents:
        yield "route: no Gateway has accepted it yet"
    for parent in parents:
        for reported in parent["conditions"]:
            stale = reported.get("observedGeneration", 0) < route["metadata"]["generation"]
            if reported["type"] in ("Accepted", "ResolvedRefs") and (stale or reported["status"] != "True"):
                reason = "not observed yet" if stale else reported["message"].rstrip(".")
                yield f"route: {reported['type']} by {parent['parentRef']['name']}: {reason}"


def _weight(route: Object | None, track: Track) -> int | None:
    if route is None:
        return None
    backend = f"{track.service['metadata']['name']}-predictor"
    references = route["spec"]["rules"][0]["backendRefs"]  # all rules have the same backends
    return sum(int(reference.get("weight", 1)) for reference in references if reference["name"] == backend)


def _container(pod_spec: Object) -> Object:
    container: Object = next(c for c in pod_spec["containers"] if c["name"] == CONTAINER)
    return container


def _digest(container: Object) -> str:
    return _argument(container, "--digest")


def _argument(container: Object, option: str) -> str:
    arguments = list(container.get("args", []))
    return str(arguments[arguments.index(option) + 1]) if option in arguments[:-1] else ""


def _permanent_error(pod: Object) -> str | None:
    """Return the message of a container that ended with an exit code for which a restart is useless."""
    for container in container_statuses(pod):
        # The deployer's own containers have exit codes of their own: a Go program's panic is 2 as well.
        if container["name"] not in (CONTAINER, BUNDLE_CONTAINER):
            continue
        if any(state.get("exitCode") == ExitCode.BAD_INPUT for state in terminated_states(container)):
            code = int(ExitCode.BAD_INPUT)
            return termination_message(container) or f"{container['name']} exited with code {code}"
    return None

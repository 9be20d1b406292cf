# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a canary rollout: its ordered steps, each with all values of the chart that a rollout changes.

Every step assigns the same keys. A step that is applied twice, or after a change by hand, therefore has the
same result, and for GitOps the values of a step replace those of the step before. All functions are pure;
:mod:`tidegate_rollout.helm` applies a step.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from tidegate.digest import is_sha256
from tidegate.errors import ConfigurationError
from tidegate_rollout.policy import RolloutPolicy

FULL_WEIGHT = 100

START = "start"
ALL_TRAFFIC = f"weight-{FULL_WEIGHT}"
PROMOTE = "promote"
RETURN = "return"
REMOVE = "remove"

_NO_TRAFFIC = {"weight": 0, "mirror_percent": 0, "split_by_replicas": False}


class RolloutValues(BaseModel):
    """The values of a release that a rollout changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    previous: tuple[str, ...]
    canary_digest: str
    weight: int
    mirror_percent: int
    split_by_replicas: bool
    canary_min_replicas: int | None
    min_replicas: int

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "RolloutValues":
        """Return the rollout's part of a release's values, as ``helm get values --all`` prints them.

        Raises:
            ConfigurationError: If the release's chart has no canary with a mirror.
        """
        try:
            model, canary = values["model"], values["canary"]
            return cls(
                digest=parse_digest(model["digest"]),
                previous=tuple(map(parse_digest, model["previous"])),
                canary_digest=parse_digest(canary["digest"]) if canary["digest"] else "",
                weight=canary["weight"],
                mirror_percent=canary["mirrorPercent"],
                split_by_replicas=canary["splitByReplicas"],
                canary_min_replicas=canary.get("minReplicas"),
                min_replicas=values["autoscaling"]["minReplicas"],
            )
        except KeyError as error:
            raise ConfigurationError(
                f"The release's chart has no value {error}: upgrade the release with this version's chart "
                "helm/tidegate before the rollout."
            ) from None

    def chart_values(self) -> dict[str, Any]:
        """Return them as values of the chart."""
        return {
            "model": {"digest": self.digest, "previous": list(self.previous)},
            "canary": {
                "digest": self.canary_digest,
                "weight": self.weight,
                "mirrorPercent": self.mirror_percent,
                "splitByReplicas": self.split_by_replicas,
                "minReplicas": self.canary_min_replicas,
            },
            "autoscaling": {"minReplicas": self.min_replicas},
        }

    def changed(self, **fields: object) -> "RolloutValues":
        """Return a copy with other values."""
        return self.model_copy(update=fields)


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One upgrade of the release, and how the step ends."""

    name: str
    purpose: str
    """The step's effect, in the imperative, without a full stop."""
    values: RolloutValues
    measured: bool = False
    """Whether a verdict ends the step. Otherwise it ends when the release serves the values."""
    settles: bool = False
    """Whether the step moves requests, which the Gateway and its clients follow with a delay."""


def parse_digest(text: str) -> str:
    """Return a digest without its prefix.

    Raises:
        ConfigurationError: If the text is not a digest.
    """
    digits = text.removeprefix("sha256:")
    if not is_sha256(digits):
        raise ConfigurationError(
            f"The digest {text!r} is not valid: expected 64 digits of 0-9 and a-f, with or without "
            "'sha256:'; 'tidegate push' and 'tidegate inspect' print it."
        )
    return digits


def baseline_of(values: RolloutValues, digest: str) -> RolloutValues:
    """Return the values to which an abort returns: those of the release without a canary.

    Args:
        values: The release's values.
        digest: The digest of the rollout. A canary of it may exist already, for example started by hand.

    Raises:
        ConfigurationError: If the release has a canary of another digest.
    """
    if values.canary_digest not in ("", digest):
        raise ConfigurationError(
            f"The release already has a canary, {values.canary_digest[:12]}: expected none, or one of "
            f"{digest[:12]}. Remove it with 'helm upgrade --set canary.weight=0', then '--set "
            "canary.digest='."
        )
    return values.changed(canary_digest="", **_NO_TRAFFIC)


def policy_by_replicas(policy: RolloutPolicy, replicas: int) -> RolloutPolicy:
    """Return the policy without the steps that a release without a Gateway cannot have.

    One Service sends each pod the same part of the requests. So a step is a number of the canary's replicas,
    and weights with the same number are one step.

    Args:
        policy: The policy.
        replicas: The stable track's replicas.

    Raises:
        ConfigurationError: If the policy has no weight.
    """
    weights = {
        canary_replicas(step.weight, replicas): step
        for step in reversed(policy.steps)
        if step.weight is not None
    }
    if not weights:
        raise ConfigurationError(
            "The policy only mirrors requests, and without a Gateway nothing mirrors them: add a weight to "
            "'steps'."
        )
    return policy.model_copy(update={"steps": tuple(reversed(weights.values()))})


def canary_replicas(weight: int, replicas: int) -> int:
    """Return the canary's replicas, at least one, with which one Service sends it a percentage.

    >>> [canary_replicas(weight, 4) for weight in (5, 25, 50)]
    [1, 1, 4]
    """
    return max(1, round(replicas * weight / (FULL_WEIGHT - weight)))


@lru_cache(maxsize=16)
def plan_rollout(
    baseline: RolloutValues, digest: str, policy: RolloutPolicy, replicas: int, *, by_replicas: bool = False
) -> tuple[PlannedStep, ...]:
    """Plan the steps from a new digest to its promotion.

    Before a weight rises, the canary has the replicas for it, because an autoscaler adds them only after the
    requests come. The promotion gives the canary all replicas and all requests, and then changes the stable
    track, which has no requests at that time.

    Args:
        baseline: The release's values without a canary.
        digest: The new digest.
        policy: The steps with a verdict.
        replicas: The replicas that serve all requests.
        by_replicas: Whether one Service divides the requests, because there is no Gateway.
    """
    measured = tuple(_measured_steps(baseline, digest, policy, replicas, by_replicas=by_replicas))
    replicas = max(replicas, baseline.min_replicas)
    promotion = _promotion(baseline, measured[-1].values, replicas, by_replicas=by_replicas)
    return (*measured, *promotion)


@lru_cache(maxsize=16)
def plan_rehearsal(
    baseline: RolloutValues, policy: RolloutPolicy, replicas: int, *, by_replicas: bool = False
) -> tuple[PlannedStep, ...]:
    """Plan the steps of a rollout of the release's own digest, which end without a promotion.

    Args:
        baseline: The release's values without a canary.
        policy: The steps with a verdict.
        replicas: The replicas that serve all requests.
        by_replicas: Whether one Service divides the requests, because there is no Gateway.
    """
    digest = baseline.digest
    measured = tuple(_measured_steps(baseline, digest, policy, replicas, by_replicas=by_replicas))
    return (*measured, *plan_abort(baseline, measured[-1].values))


def plan_abort(baseline: RolloutValues, current: RolloutValues) -> tuple[PlannedStep, ...]:
    """Plan the end of a rollout: first all requests return to the stable track, then the canary is removed.

    Args:
        baseline: The release's values without a canary.
        current: The values of the last step, whose replicas stay until the canary is removed.
    """
    returned = current.changed(**_NO_TRAFFIC)
    return (
        PlannedStep(RETURN, "Return all requests to the stable track", returned, settles=True),
        PlannedStep(REMOVE, "Remove the canary", baseline),
    )


def _measured_steps(
    baseline: RolloutValues, digest: str, policy: RolloutPolicy, replicas: int, *, by_replicas: bool
) -> Iterator[PlannedStep]:
    values = baseline.changed(canary_digest=digest)
    if by_replicas:
        values = values.changed(canary_min_replicas=1)
    yield PlannedStep(START, "Start the canary without requests", values)
    for step in policy.steps:
        if step.mirror is not None:
            purpose = f"Mirror {step.mirror} % of the requests to the canary"
            mirrored = values.changed(mirror_percent=step.mirror)
            yield PlannedStep(f"mirror-{step.mirror}", purpose, mirrored, measured=True, settles=True)
        elif step.weight is not None and by_replicas:
            count = canary_replicas(step.weight, replicas)
            values = values.changed(canary_min_replicas=count, split_by_replicas=True)
            purpose = (
                f"Send the requests to all {count + replicas} replicas, of which {count} are the canary's"
            )
            yield PlannedStep(f"weight-{step.weight}", purpose, values, measured=True, settles=True)
        elif step.weight is not None:
            yield from (sizing := tuple(_sizing(values, step.weight, replicas)))
            values = (sizing[-1].values if sizing else values).changed(weight=step.weight)
            purpose = f"Send {step.weight} % of the requests to the canary"
            yield PlannedStep(f"weight-{step.weight}", purpose, values, measured=True, settles=True)


def _sizing(values: RolloutValues, weight: int, replicas: int) -> Iterator[PlannedStep]:
    """Plan a step that gives the canary the replicas for a weight, unless it has them."""
    minimum = values.min_replicas if values.canary_min_replicas is None else values.canary_min_replicas
    needed = math.ceil(replicas * weight / FULL_WEIGHT)
    if needed > minimum:
        sized = values.changed(canary_min_replicas=needed)
        yield PlannedStep(f"size-{weight}", f"Scale the canary to at least {needed} replicas", sized)


def _promotion(
    baseline: RolloutValues, values: RolloutValues, replicas: int, *, by_replicas: bool
) -> Iterator[PlannedStep]:
    """Plan the promotion: a track without requests keeps its replicas by its minimum.

    Without a Gateway the stable track keeps its part of the requests, and a rolling update changes its
    digest.
    """
    values = values.changed(mirror_percent=0)
    if by_replicas:
        values = values.changed(min_replicas=replicas)
    else:
        yield from (sizing := tuple(_sizing(values, FULL_WEIGHT, replicas)))
        values = (sizing[-1].values if sizing else values).changed(weight=FULL_WEIGHT, min_replicas=replicas)
        yield PlannedStep(ALL_TRAFFIC, "Send all requests to the canary", values, settles=True)
    digest = values.canary_digest
    earlier = (baseline.digest, *baseline.previous)
    previous = tuple(dict.fromkeys(item for item in earlier if item != digest))
    values = values.changed(digest=digest, previous=previous)
    yield PlannedStep(PROMOTE, "Give the stable track the new digest", values)
    values = values.changed(**_NO_TRAFFIC)
    yield PlannedStep(RETURN, "Return all requests to the stable track", values, settles=True)
    promoted = baseline.changed(digest=digest, previous=previous)
    yield PlannedStep(REMOVE, "Remove the canary", promoted)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The policy of a rollout: its steps, the evidence that each needs, and the error rates of the verdict.

Every field has a default, so the file may be absent. The policy has no name of a release and no digest: one
file serves for every release of a service.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidegate.errors import ConfigurationError, FieldError

Ratio = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Step(_Model):
    """A step: the Gateway mirrors a percentage of the requests to the canary, or sends them to it."""

    mirror: Annotated[int, Field(gt=0, le=100)] | None = None
    """Percentage of the requests that the canary receives as copies. No user receives its responses."""
    weight: Annotated[int, Field(gt=0, lt=100)] | None = None
    """Percentage of the requests that the canary serves. The promotion follows the last step."""

    @model_validator(mode="after")
    def _validate_one_kind(self) -> Self:
        if (self.mirror is None) == (self.weight is None):
            raise ValueError("give either 'mirror' or 'weight'")
        return self

    def __str__(self) -> str:
        return f"mirror {self.mirror} %" if self.weight is None else f"weight {self.weight} %"


class EventLimit(_Model):
    """The accepted difference between both tracks in one kind of event, such as errors."""

    equal_odds_ratio: Positive = 1.0
    """The odds of an event on the canary, divided by the stable track's: up to this, they count as equal."""
    unacceptable_odds_ratio: Positive = 2.0
    """From this odds ratio on, the canary must not pass."""
    max_ratio: Ratio = 0.01
    """A canary with a proven smaller ratio of events passes, even if the stable track has none."""

    @model_validator(mode="after")
    def _validate_distance(self) -> Self:
        if self.unacceptable_odds_ratio <= self.equal_odds_ratio * 1.1:
            problem = "expected more than 1.1 times equal_odds_ratio, the nearest that a test can tell apart"
            raise FieldError(("unacceptable_odds_ratio",), problem)
        return self


class LatencyLimit(EventLimit):
    """The latency objective: an event is a request that takes longer."""

    equal_odds_ratio: Positive = 1.25
    """As for errors, and above 1, because the latency of equal pods differs by node and by load."""
    threshold_ms: Positive = 100.0
    """The objective, rounded up to an upper bound of the server's histogram."""


class PredictionLimits(_Model):
    """The accepted differences between the predictions of both tracks for the same request."""

    max_disagreement: Ratio = 0.05
    """Largest accepted ratio of pairs with different labels."""
    max_score_shift: Ratio = 0.1
    """Largest accepted distance of the distributions of the scores (Kolmogorov and Smirnov)."""
    relative_tolerance: NonNegative = 0.05
    """Regression: a pair differs if its values differ by more than this ratio of the stable one …"""
    absolute_tolerance: NonNegative = 0.0
    """… plus this difference, in the target's unit."""
    max_differing: Ratio = 0.05
    """Largest accepted ratio of pairs that differ."""


class RolloutPolicy(_Model):
    """The steps of a rollout and its verdict."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)] = (
        Step(mirror=10),
        Step(weight=5),
        Step(weight=25),
        Step(weight=50),
    )
    """Mirror first, then rising weights."""
    settle_seconds: NonNegative = 15.0
    """Time after each change of the traffic whose requests do not count: the Gateway and caches follow it."""
    block_seconds: Positive = 15.0
    """Time between two readings of the pods' counters."""
    min_seconds: NonNegative = 60.0
    """Least time per step."""
    min_requests: Annotated[int, Field(ge=1)] = 200
    """Least requests of the canary per step."""
    max_seconds: Positive = 3600.0
    """Longest time per step; ``on_insufficient`` follows if it ends without enough evidence."""
    on_insufficient: Literal["hold", "abort"] = "hold"
    """``hold`` keeps the step's traffic and ends the command; ``abort`` returns the traffic."""
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    """Largest probability that the rollout of an equally good canary fails, over all steps and checks."""
    beta: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Largest probability that an unacceptable canary passes all steps."""
    errors: EventLimit = EventLimit()
    """Server errors. ``errors.max_ratio`` is the error budget."""
    latency: LatencyLimit | None = LatencyLimit()
    """None if latency does not count."""
    predictions: PredictionLimits | None = PredictionLimits()
    """None if predictions are not compared."""
    expect: Literal["same", "changed"] = "same"
    """``changed`` replaces the limits of the predictions by the condition that a difference is seen."""

    @model_validator(mode="after")
    def _validate(self) -> Self:
        previous = 0
        for index, step in enumerate(self.steps):
            if step.weight is None:
                if index:
                    raise FieldError(("steps", index), "only the first step can mirror")
            elif step.weight <= previous:
                problem = f"expected a weight above {previous}, the previous step's, received {step.weight}"
                raise FieldError(("steps", index, "weight"), problem)
            else:
                previous = step.weight
        if self.max_seconds < max(self.min_seconds, self.block_seconds):
            problem = f"expected at least min_seconds and block_seconds, received {self.max_seconds:g}"
            raise FieldError(("max_seconds",), problem)
        if self.expect == "changed" and self.predictions is None:
            raise FieldError(("expect",), "'changed' needs predictions, because only they show the change")
        return self

    def latency_edges(self, bounds: Sequence[float]) -> tuple[float, ...]:
        """Select the histogram's upper bounds that the verdict compares: the objective's, and its neighbours.

        >>> RolloutPolicy().latency_edges([0.01, 0.05, 0.1, 0.25, 0.5])
        (0.05, 0.1, 0.25)

        Raises:
            ConfigurationError: If the objective exceeds every bound.
        """
        if self.latency is None:
            return ()
        finite, seconds = (
            sorted(bound for bound in bounds if bound != float("inf")),
            self.latency.threshold_ms / 1e3,
        )
        index = next((index for index, bound in enumerate(finite) if bound >= seconds), None)
        if index is None:
            raise ConfigurationError(
                f"field 'latency.threshold_ms': expected at most {max(finite, default=0) * 1e3:g}, the "
                f"largest upper bound of the server's histogram, received {self.latency.threshold_ms:g}."
            )
        return tuple(finite[max(0, index - 1) : index + 2])

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The state of a rollout, which the annotation of its Lease keeps.

With the release's own values, the state is all that a rollout knows, so another process can continue after
this one was killed. Each step assigns its values completely, so the state needs no record of the upgrade
itself: the release has the step's values, or the step is applied.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.errors import ConfigurationError, first_problem
from tidegate_rollout.evidence import Evidence, TrackCounts
from tidegate_rollout.plan import (
    PROMOTE,
    REMOVE,
    RETURN,
    PlannedStep,
    RolloutValues,
    plan_abort,
    plan_rehearsal,
    plan_rollout,
)
from tidegate_rollout.policy import RolloutPolicy
from tidegate_rollout.scrape import Cursor


class Course(StrEnum):
    """The sequence of steps that a rollout follows."""

    ROLLOUT = "rollout"
    REHEARSAL = "rehearsal"
    ABORT = "abort"


class Result(StrEnum):
    """The end of a rollout."""

    PROMOTED = "promoted"
    ABORTED = "aborted"
    HELD = "held"
    REHEARSED = "rehearsed"


class Cause(StrEnum):
    """The cause of an abort, of a hold, or of a promotion without a verdict."""

    VERDICT = "verdict"
    COMMAND = "command"
    RELEASE = "release"
    """The release cannot serve the step: no room, or pods that do not start."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepRecord(_Model):
    """A step that has ended."""

    step: str
    started_at: float
    ended_at: float
    outcome: str
    """``done``, the outcome of the verdict, ``aborted``, or ``skipped`` by the command ``promote``."""
    reason: str


class Reading(_Model):
    """The counters of all pods at a time, and where the next reading of their samples begins."""

    at: float | None = None
    """None before the first reading."""
    counts: Mapping[str, TrackCounts] = {}
    """By pod."""
    cursors: Mapping[str, Cursor] = {}
    """By pod."""


class RolloutState(_Model):
    """A rollout in progress, held, or ended. Times are seconds since 1970."""

    digest: str
    policy: RolloutPolicy
    baseline: RolloutValues
    """The release's values without a canary, to which an abort returns."""
    replicas: int
    """The replicas that all requests need on one track."""
    evidence: Evidence
    step: str
    step_started_at: float
    ready_at: float | None = None
    """When the release served the step; None until then."""
    reading: Reading = Reading()
    """The last reading of the pods in this step."""
    rounds: int = 1
    """The remaining rounds of a rehearsal, with the present one."""
    by_replicas: bool = False
    """Whether one Service divides the requests by replicas, because the release has no Gateway."""
    course: Course = Course.ROLLOUT
    abort_from: RolloutValues | None = None
    """The values of the step that an abort followed."""
    result: Result | None = None
    """None while the rollout is in progress."""
    cause: Cause | None = None
    reason: str = ""
    records: tuple[StepRecord, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the annotation's JSON.

        Raises:
            ConfigurationError: If another version wrote it.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigurationError(
                f"The state of the rollout cannot be read ({first_problem(error)}): another version wrote "
                "it. Continue with that version, or delete the Lease and return the release by "
                "docs/canary.md."
            ) from None

    @property
    def steps(self) -> tuple[PlannedStep, ...]:
        """The plan. It follows from the state alone, so it needs no place in it."""
        if self.course is Course.ABORT:
            assert self.abort_from is not None, "an abort has values from which it returns"
            return plan_abort(self.baseline, self.abort_from)
        if self.course is Course.REHEARSAL:
            return plan_rehearsal(self.baseline, self.policy, self.replicas, by_replicas=self.by_replicas)
        return plan_rollout(
            self.baseline, self.digest, self.policy, self.replicas, by_replicas=self.by_replicas
        )

    @property
    def current(self) -> PlannedStep:
        """The step in progress."""
        return self.steps[self._index]

    @property
    def following(self) -> PlannedStep | None:
        """The next step; None at the last."""
        rest = self.steps[self._index + 1 :]
        return rest[0] if rest else None

    @property
    def promotion(self) -> PlannedStep:
        """The first step after the last verdict."""
        return self.steps[self._last_measured + 1]

    @property
    def is_last_measured(self) -> bool:
        """Whether no verdict follows the present one."""
        return self._index == self._last_measured

    @property
    def rehearsed_rounds(self) -> int:
        """The rounds of a rehearsal that have ended."""
        last = self.steps[self._last_measured].name
        return sum(
            r.outcome in ("fail", "insufficient") or (r.outcome, r.step) == ("pass", last)
            for r in self.records
        )

    @property
    def has_ended(self) -> bool:
        """Whether the rollout is neither in progress nor held."""
        return self.result not in (None, Result.HELD)

    @property
    def is_revocable(self) -> bool:
        """Whether an abort is possible: the stable track has the old digest, and the canary exists."""
        return self.course is not Course.ABORT and self.step not in (PROMOTE, RETURN, REMOVE)

    @property
    def _last_measured(self) -> int:
        return max(index for index, step in enumerate(self.steps) if step.measured)

    @property
    def _index(self) -> int:
        return [step.name for step in self.steps].index(self.step)

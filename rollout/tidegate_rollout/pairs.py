# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of predictions: the outputs of both tracks for the same row of the same request.

The servers keep samples without any value of a request: a hash that identifies the row, a digest of the
outputs, and the label and the score. Only rows that both tracks computed make a pair.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from tidegate.errors import ServerError
from tidegate_rollout.policy import PredictionLimits

SCORE_EDGES = tuple(edge / 20 for edge in range(1, 20))
"""The scores at which the distributions of both tracks are compared."""
_PENDING = 65_536
"""Most samples per track that wait for the other track's."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The outputs of a track for one row, as the server samples them."""

    key: str
    """A hash of the request's identifier and the row's number."""
    digest: str
    """A digest of all outputs of the row."""
    label: str | int | float | bool | None
    """The predicted label; None for regression."""
    score: float | None
    """The label's probability, or the predicted value; None if the model has none."""

    @classmethod
    def parse(cls, values: Sequence[Any]) -> Self:
        """Read a sample of the server's JSON.

        Raises:
            ServerError: If the values are not those of a sample.
        """
        match values:
            case [
                str(key),
                str(digest),
                None | str() | int() | float() as label,
                None | int() | float() as score,
            ]:
                return cls(key, digest, label, None if score is None else float(score))
        raise ServerError(
            f"/pairs: expected samples [key, digest, label, score], received {str(values)[:80]}."
        )


@dataclass(frozen=True, slots=True)
class PairCounts:
    """The differences of the pairs so far."""

    pairs: int = 0
    equal: int = 0
    """Pairs whose outputs are equal in every bit."""
    labelled: int = 0
    disagreements: int = 0
    """Labelled pairs with different labels."""
    scored: int = 0
    """Labelled pairs with scores."""
    risen: tuple[int, ...] = (0,) * len(SCORE_EDGES)
    """By edge, scored pairs with the stable score below the edge and the canary's not."""
    fallen: tuple[int, ...] = (0,) * len(SCORE_EDGES)
    """By edge, scored pairs with the canary's score below the edge and the stable one not."""
    valued: int = 0
    """Pairs without labels: of regression values, or of digests if a sensitive feature hides the values."""
    differing: int = 0
    """Pairs without labels whose values differ by more than the tolerance, or whose digests differ."""
    total_difference: float = 0.0
    """The sum of the canary's values minus the stable ones."""
    largest_difference: float = 0.0
    """The largest absolute difference of two values."""

    def add(self, pairs: Iterable[tuple[Sample, Sample]], limits: PredictionLimits) -> Self:
        """Count more pairs, each of a stable and a canary sample.

        Args:
            pairs: The pairs.
            limits: The tolerance of regression values.
        """
        pairs = tuple(pairs)
        if not pairs:
            return self
        labels = [pair for pair in pairs if None not in (pair[0].label, pair[1].label)]
        scores = _scores(labels)
        unlabelled = [pair for pair in pairs if pair[0].label is None and pair[1].label is None]
        values = _scores(unlabelled)
        hidden = [pair for pair in unlabelled if pair[0].score is None and pair[1].score is None]
        below = scores[:, :, None] < np.array(SCORE_EDGES)
        difference = values[:, 1] - values[:, 0]
        tolerance = limits.absolute_tolerance + limits.relative_tolerance * abs(values[:, 0])
        return replace(
            self,
            pairs=self.pairs + len(pairs),
            equal=self.equal + sum(stable.digest == canary.digest for stable, canary in pairs),
            labelled=self.labelled + len(labels),
            disagreements=self.disagreements + sum(stable.label != canary.label for stable, canary in labels),
            scored=self.scored + len(scores),
            risen=_sum(self.risen, below[:, 0] & ~below[:, 1]),
            fallen=_sum(self.fallen, ~below[:, 0] & below[:, 1]),
            valued=self.valued + len(values) + len(hidden),
            # A difference that is not a number exceeds every tolerance.
            differing=self.differing
            + int((~(abs(difference) <= tolerance)).sum())
            + sum(stable.digest != canary.digest for stable, canary in hidden),
            total_difference=self.total_difference + float(difference.sum()),
            largest_difference=max(self.largest_difference, float(abs(difference).max(initial=0.0))),
        )


@dataclass(slots=True)
class PairJoiner:
    """Samples that wait for the sample of the other track, at most a fixed number per track.

    A restart of the command loses them, so no pair counts twice if the command continues after the last
    samples.
    """

    _stable: dict[str, Sample] = field(default_factory=dict)
    _canary: dict[str, Sample] = field(default_factory=dict)

    def join(self, stable: Iterable[Sample], canary: Iterable[Sample]) -> list[tuple[Sample, Sample]]:
        """Add new samples, and return the pairs that they complete: the stable sample, then the canary's.

        Args:
            stable: New samples of the stable track.
            canary: New samples of the canary.
        """
        self._stable.update((sample.key, sample) for sample in stable)
        self._canary.update((sample.key, sample) for sample in canary)
        # In the order of the dictionary, so that the result does not depend on the hashes of texts.
        keys = [key for key in self._canary if key in self._stable]
        pairs = [(self._stable.pop(key), self._canary.pop(key)) for key in keys]
        for pending in (self._stable, self._canary):
            for key in list(pending)[: max(0, len(pending) - _PENDING)]:
                del pending[key]
        return pairs


def _scores(pairs: Iterable[tuple[Sample, Sample]]) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Return the scores of the pairs that have them: ``[pairs, 2]``."""
    scores = [
        (stable.score, canary.score) for stable, canary in pairs if None not in (stable.score, canary.score)
    ]
    return np.array(scores, np.float64).reshape(-1, 2)


def _sum(counts: tuple[int, ...], crossing: "np.ndarray[Any, np.dtype[np.bool_]]") -> tuple[int, ...]:
    """Add the pairs that cross each edge, ``[pairs, edges]``, to the counts."""
    return tuple(count + int(more) for count, more in zip(counts, crossing.sum(axis=0), strict=True))

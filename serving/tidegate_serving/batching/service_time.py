# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Cost: how long the engine takes for a number of rows, learned from what it took.

For each power of two of rows it keeps the last few measurements and believes their median, so that one slow
outlier changes nothing. What it has not measured it does not claim to know.
"""

from collections import deque

_KEPT = 9
_ENOUGH = 3
_BEYOND = 2
"""How many doublings beyond the largest measured batch it still extrapolates."""


class ServiceTimeEstimator:
    """Seconds by rows. It forgets: five measurements of another kind turn the estimate."""

    def __init__(self) -> None:
        self._measured: dict[int, deque[float]] = {}
        self._known: dict[int, float] = {}
        """By the number of binary digits of the rows, the median."""
        self._guessed: dict[int, float | None] = {}
        """The same for sizes never measured, until something new is measured."""

    def measured(self, rows: int, seconds: float) -> None:
        """Learn from one call of the engine."""
        size = rows.bit_length()
        last = self._measured.get(size)
        if last is None:
            last = self._measured[size] = deque(maxlen=_KEPT)
        last.append(seconds)
        if len(last) >= _ENOUGH:
            self._known[size] = sorted(last)[len(last) // 2]
            self._guessed.clear()

    def seconds(self, rows: int) -> float | None:
        """What a batch of so many rows is expected to take; None where too little is known."""
        size = rows.bit_length()
        known = self._known.get(size)
        if known is not None:
            return known
        if size not in self._guessed:
            self._guessed[size] = self._guess(size)
        return self._guessed[size]

    def _guess(self, size: int) -> float | None:
        """Between measured sizes on the line through them; above in proportion; below as the smallest."""
        below = max((other for other in self._known if other < size), default=None)
        above = min((other for other in self._known if other > size), default=None)
        if above is None:
            if below is None or size - below > _BEYOND:
                return None
            return self._known[below] * float(1 << (size - below))
        if below is None:
            return self._known[above]
        share = ((1 << size) - (1 << below)) / ((1 << above) - (1 << below))
        return self._known[below] + share * (self._known[above] - self._known[below])

    def drain(self, rows: int) -> float:
        """How long so many waiting rows will take, in seconds; too little rather than too much.

        Beyond what was measured it follows the line through the two largest sizes, and knows of no slope
        before there are two: who has only seen single rows cannot say what many together take.
        """
        *others, largest = sorted(self._known) or [0]
        if not largest:
            return 0.0
        if rows.bit_length() <= largest:
            return self.seconds(rows) or 0.0
        if not others:
            return self._known[largest]
        slope = (self._known[largest] - self._known[others[-1]]) / (_middle(largest) - _middle(others[-1]))
        return self._known[largest] + max(0.0, slope) * (rows - _middle(largest))

    def rows_within(self, seconds: float) -> int:
        """How many rows are known to take no longer; 0 where nothing is known."""
        return max((1 << size for size, known in self._known.items() if known <= seconds), default=1) - 1

    @property
    def smallest(self) -> float:
        """The least that a call takes, in seconds; 0.0 if unknown."""
        return min(self._known.values(), default=0.0)


def _middle(size: int) -> float:
    """The middle of the numbers with so many binary digits."""
    return 0.75 * (1 << size)

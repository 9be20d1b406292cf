# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A recommender for implicit feedback: for each user the items with the highest scores.

It has scikit-learn's interface: ``X`` is one column of users, ``y`` has the item of each interaction, and
``sample_weight`` how much the interaction counts. It is in the core because servers build it too, under the
default policy. It needs scikit-learn, which the extras ``training`` and ``serving`` install; no other module
of the core imports this one.

>>> users = [["ann"], ["ann"], ["ben"], ["ben"], ["cleo"], ["cleo"], ["dan"]]
>>> items = ["tea", "mug", "tea", "mug", "rope", "tent", "tea"]
>>> model = ImplicitALS(k=1, factors=2, random_state=0).fit(users, items)
>>> model.predict([["dan"], ["unknown"]]).tolist()
[['mug'], ['tea']]
"""

from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

Array = NDArray[Any]
Numbers = NDArray[np.intp]

_CHUNK_SCORES = 1 << 22
"""Number of scores that are computed at once, users times items: 32 MiB."""


class ImplicitALS(BaseEstimator):
    """Matrix factorization of implicit feedback by alternating least squares.

    From Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (2008): a user
    prefers an item (1) or not (0), and an interaction of weight ``w`` makes the preference more certain, by
    ``1 + alpha * w``. Users and items are vectors whose products are the preferences with the least
    weighted squares of errors. The method needs no ratings and no negative examples, its size grows with
    users plus items, and with tuned parameters it is level with newer methods (Rendle, Krichene, Zhang and
    Koren, "Revisiting the Performance of iALS on Item Recommendation Benchmarks", 2022).

    An unknown user gets the most popular items; their score is the fraction of users with the item. So it is
    an estimate of the preference, too. Scores are computed in 64 bits and rounded to 32, and items of equal
    scores are ranked in the order of ``items_``.

    Args:
        k: The number of items per user.
        factors: The length of the vectors.
        regularization: The weight of the squares of the vectors in the loss.
        alpha: How much more certain an interaction of weight 1 makes a preference.
        iterations: How often the vectors of items and of users are solved for.
        exclude_seen: Whether the items of a user's interactions are left out of the user's recommendations.
        random_state: The seed of the first vectors.

    Attributes:
        users_: ``[users]``, the sorted users.
        items_: ``[items]``, the sorted items.
        user_factors_: ``[users + 1, factors + 1]``, the vectors of users. The last row is that of an unknown
            user: 1 in the last column, which is 0 in every other row.
        item_factors_: ``[items, factors + 1]``, the vectors of items. The last column has their popularity.
        seen_: ``[interactions]``, the numbers of each user's items, user after user.
        seen_bounds_: ``[users + 2]``, where each user's items begin in ``seen_``; an unknown user has none.
    """

    def __init__(
        self,
        k: int = 10,
        *,
        factors: int = 32,
        regularization: float = 0.1,
        alpha: float = 10.0,
        iterations: int = 15,
        exclude_seen: bool = True,
        random_state: int | None = None,
    ) -> None:
        self.k = k
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.iterations = iterations
        self.exclude_seen = exclude_seen
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the vectors of users and items.

        Args:
            X: ``[interactions, 1]``, the users, as texts or whole numbers.
            y: ``[interactions]``, the items.
            sample_weight: ``[interactions]``, how much each interaction counts; by default 1. The weights of
                the same user and item are added. An interaction of weight 0 does not count.

        Raises:
            ValueError: If a parameter is out of range, or too few items are left for a user.
        """
        self._validate_parameters()
        self.__dict__.pop("_number_of_user", None)
        users, items = _as_column(X), _without_objects(np.asarray(y))
        weights = np.ones(len(users)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        counted = weights > 0
        self.users_, user_of = np.unique(users[counted], return_inverse=True)
        self.items_, item_of = np.unique(items[counted], return_inverse=True)
        n_users, n_items = len(self.users_), len(self.items_)
        pairs, pair_of = np.unique(user_of * n_items + item_of, return_inverse=True)
        user_of, item_of = np.divmod(pairs, n_items)
        excess = self.alpha * np.bincount(pair_of, weights[counted])
        self._validate_counts(np.bincount(user_of))
        by_item = np.argsort(item_of, kind="stable")
        generator = np.random.default_rng(self.random_state)
        item_factors = generator.normal(scale=0.1, size=(n_items, self.factors))
        for _ in range(self.iterations):
            user_factors = self._solve(user_of, item_of, excess, item_factors)
            item_factors = self._solve(item_of[by_item], user_of[by_item], excess[by_item], user_factors)
        user_factors = self._solve(user_of, item_of, excess, item_factors)
        popularity = np.bincount(item_of) / n_users
        self.user_factors_ = np.zeros((n_users + 1, self.factors + 1))
        self.user_factors_[:-1, :-1] = user_factors
        self.user_factors_[-1, -1] = 1.0
        self.item_factors_ = np.hstack([item_factors, popularity[:, np.newaxis]])
        self.seen_ = item_of.astype(np.int64)
        self.seen_bounds_ = np.searchsorted(user_of, np.arange(n_users + 2)).astype(np.int64)
        self.n_features_in_ = 1
        return self

    def predict(self, X: Any) -> Array:
        """Recommend items, the best first, ``[rows, k]``.

        Args:
            X: ``[rows, 1]``, users.
        """
        return self._recommend(self._user_numbers(X))[0]

    def decision_function(self, X: Any) -> Array:
        """Compute the scores of the recommended items, ``[rows, k]`` of float32.

        Args:
            X: ``[rows, 1]``, users.
        """
        return self._recommend(self._user_numbers(X))[1]

    def popular_items(self, X: Any) -> Array:
        """Return the most popular items, without those of the user if they are excluded, ``[rows, k]``.

        It is the recommendation for an unknown user, and the baseline of the recommendation for a known one.

        Args:
            X: ``[rows, 1]``, users.
        """
        numbers = self._user_numbers(X)
        return self._recommend(np.full_like(numbers, len(self.users_)), seen_by=numbers)[0]

    def is_excluded(self, X: Any, y: Any) -> NDArray[np.bool_]:
        """Return whether an item can never be recommended to a user, because the user has it, ``[rows]``.

        Args:
            X: ``[rows, 1]``, users.
            y: ``[rows]``, items.
        """
        if not self.exclude_seen:
            return np.zeros(len(y), np.bool_)
        numbers = self._user_numbers(X)
        known = {item: number for number, item in enumerate(self.items_.tolist())}
        n_items = len(self.items_)
        # An unknown item has the number n_items, so that no pair of a user and an item has its key.
        items = np.fromiter((known.get(item, n_items) for item in np.asarray(y).tolist()), np.intp, len(y))
        seen_by = np.repeat(np.arange(len(self.users_)), np.diff(self.seen_bounds_[:-1]))
        return np.isin(numbers * (n_items + 1) + items, seen_by * (n_items + 1) + self.seen_)

    def _validate_parameters(self) -> None:
        for name, smallest in (("k", 1), ("factors", 1), ("iterations", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < smallest:
                raise ValueError(f"{name}: expected a whole number of {smallest} or more, received {value!r}")
        for name in ("regularization", "alpha"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < np.inf:
                raise ValueError(f"{name}: expected a number above 0, received {value!r}")

    def _validate_counts(self, seen: Numbers) -> None:
        """Check that ``k`` items are left for every user, known or not.

        Args:
            seen: ``[users]``, the number of items that each user has.
        """
        n_items = len(self.items_)
        if self.k > n_items:
            raise ValueError(f"k: expected at most {n_items}, the number of items, received {self.k}")
        if self.exclude_seen and seen.max() > n_items - self.k:
            raise ValueError(
                f"the user {self.users_[seen.argmax()]!s} has {seen.max()} of {n_items} items, so fewer than "
                f"{self.k} are left: set a smaller k, or exclude_seen: false"
            )

    def _solve(self, rows: Numbers, columns: Numbers, excess: Array, factors: Array) -> Array:
        """Solve for the vectors of one side, ``[rows, factors]``, with those of the other side fixed.

        Args:
            rows: ``[pairs]``, the number of each pair's user or item on the side to solve, in order.
            columns: ``[pairs]``, its number on the other side.
            excess: ``[pairs]``, by how much the certainty of its preference exceeds 1.
            factors: ``[columns, factors]``, the vectors of the other side.
        """
        shared = factors.T @ factors + self.regularization * np.eye(factors.shape[1])
        starts = np.searchsorted(rows, np.arange(1, rows[-1] + 1))
        solved = []
        for numbers, more in zip(np.split(columns, starts), np.split(excess, starts), strict=True):
            chosen = factors[numbers]
            solved.append(np.linalg.solve(shared + (chosen.T * more) @ chosen, (1 + more) @ chosen))
        return np.array(solved)

    @cached_property
    def _number_of_user(self) -> dict[Any, int]:
        return {user: number for number, user in enumerate(self.users_.tolist())}

    def __getstate__(self) -> Any:
        # The dictionary is built from users_ and is not saved.
        return {name: value for name, value in super().__getstate__().items() if name != "_number_of_user"}

    def _user_numbers(self, X: Any) -> Numbers:
        """Return the number of each user, ``[rows]``; that of an unknown user is the number of users."""
        users = np.asarray(X)[:, 0].tolist()
        unknown = len(self.users_)
        return np.fromiter((self._number_of_user.get(user, unknown) for user in users), np.intp, len(users))

    def _recommend(self, numbers: Numbers, seen_by: Numbers | None = None) -> tuple[Array, Array]:
        """Return the best items and their scores, ``[rows, k]`` each.

        Args:
            numbers: ``[rows]``, the users whose vectors are used.
            seen_by: ``[rows]``, the users whose items are left out; by default the same.
        """
        pairs = np.stack([numbers, numbers if seen_by is None else seen_by], axis=1)
        distinct, row_of = np.unique(pairs, axis=0, return_inverse=True)
        best = np.empty((len(distinct), self.k), np.intp)
        scores = np.empty((len(distinct), self.k), np.float32)
        step = max(1, _CHUNK_SCORES // len(self.items_))
        for start in range(0, len(distinct), step):
            chunk = slice(start, start + step)
            users, seen_users = distinct[chunk].T
            # Rounding makes near-equal scores equal, so that their order does not depend on the last bits.
            computed = (self.user_factors_[users] @ self.item_factors_.T).astype(np.float32)
            if self.exclude_seen:
                for row, user in enumerate(seen_users):
                    computed[row, self.seen_[self.seen_bounds_[user] : self.seen_bounds_[user + 1]]] = -np.inf
            best[chunk] = np.argsort(-computed, axis=1, kind="stable")[:, : self.k]
            scores[chunk] = np.take_along_axis(computed, best[chunk], axis=1)
        row_of = row_of.reshape(-1)
        return self.items_[best[row_of]], scores[row_of]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "recommender"
        tags.target_tags.required = True
        return tags


def _as_column(X: Any) -> Array:
    """Return the one column of users, ``[rows]``."""
    values = np.asarray(X)
    if values.ndim != 2 or values.shape[1] != 1:
        raise ValueError(f"expected one column of users, received the shape {values.shape}")
    return _without_objects(values[:, 0])


def _without_objects(values: Array) -> Array:
    """Return texts, ``[rows]``, in an array of texts, which is saved as bytes and not object by object."""
    return values.astype(str) if values.dtype == object else values

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of recommendations: how high the items of held-out interactions are ranked.

The definitions are those of Liang, Krishnan, Hoffman and Jebara, "Variational Autoencoders for Collaborative
Filtering" (2018): each metric is a mean over users, and 1 for the best possible list of k items.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def ranking_metrics(
    users: Array, items: Array, recommended: Array, *, popular: Array, n_items: int
) -> dict[str, float | None]:
    """Compute NDCG and recall of the recommended items and of the most popular ones, and the coverage.

    Args:
        users: ``[rows]``, the user of each held-out interaction.
        items: ``[rows]``, its item.
        recommended: ``[rows, k]``, the items that are recommended to the user, the best first.
        popular: ``[rows, k]``, the most popular items, the baseline.
        n_items: The number of items that could be recommended.
    """
    ndcg, recall = _rank(users, items, recommended)
    popularity_ndcg, popularity_recall = _rank(users, items, popular)
    return {
        "ndcg": ndcg,
        "recall": recall,
        "popularity_ndcg": popularity_ndcg,
        "popularity_recall": popularity_recall,
        "ndcg_over_popularity": ndcg - popularity_ndcg,
        "coverage": len(set(recommended.ravel().tolist())) / n_items,
    }


def _rank(users: Array, items: Array, recommended: Array) -> tuple[float, float]:
    """Return NDCG and recall of lists of k items, as means over the users.

    >>> users, items = np.array(["ann", "ann", "ben"]), np.array(["mug", "tea", "tea"])
    >>> ndcg, recall = _rank(users, items, np.array([["mug", "tent"], ["mug", "tent"], ["rope", "tent"]]))
    >>> round(ndcg, 3), recall
    (0.307, 0.25)

    Args:
        users: ``[rows]``, the user of each interaction.
        items: ``[rows]``, its item.
        recommended: ``[rows, k]``, the items that are recommended to the user.
    """
    hits = recommended == items[:, np.newaxis]
    discounts = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    _, user_of, counts = np.unique(users, return_inverse=True, return_counts=True)
    possible = np.minimum(counts, hits.shape[1])
    gains = np.bincount(user_of, hits @ discounts)
    ndcg = (gains / np.cumsum(discounts)[possible - 1]).mean()
    recall = (np.bincount(user_of, hits.any(axis=1)) / possible).mean()
    return float(ndcg), float(recall)

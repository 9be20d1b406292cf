# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of recommendations: how high the items of held-out interactions are ranked.

The definitions are those of Liang, Krishnan, Hoffman and Jebara, "Variational Autoencoders for Collaborative
Filtering" (2018): each metric is a mean over users, and 1 for the best possible list of k items.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate_training.evaluation.intervals import Series, Weights

Array = NDArray[Any]


def ranking_metrics(
    users: Array, items: Array, recommended: Array, *, popular: Array, n_items: int, weights: Weights
) -> dict[str, Series]:
    """Compute NDCG and recall of the recommended items and of the most popular ones, and the coverage.

    Args:
        users: ``[rows]``, the user of each held-out interaction.
        items: ``[rows]``, its item.
        recommended: ``[rows, k]``, the items that are recommended to the user, the best first.
        popular: ``[rows, k]``, the most popular items, the baseline.
        n_items: The number of items that could be recommended.
        weights: ``[resamples, rows]``, how much each row's user counts; the coverage counts each once.

    Returns:
        By metric, ``[resamples]``.
    """
    ndcg, recall, first = rank_users(users, items, recommended)
    popularity_ndcg, popularity_recall, _ = rank_users(users, items, popular)
    counted = weights[:, first]
    total = counted.sum(axis=1)
    coverage = len(set(recommended.ravel().tolist())) / n_items
    return {
        "ndcg": counted @ ndcg / total,
        "recall": counted @ recall / total,
        "popularity_ndcg": counted @ popularity_ndcg / total,
        "popularity_recall": counted @ popularity_recall / total,
        "ndcg_over_popularity": counted @ (ndcg - popularity_ndcg) / total,
        "coverage": np.full(len(weights), coverage),
    }


def rank_users(users: Array, items: Array, recommended: Array) -> tuple[Array, Array, Array]:
    """Return NDCG, recall and the first row of each user, ``[users]`` each.

    >>> users, items = np.array(["ann", "ann", "ben"]), np.array(["mug", "tea", "tea"])
    >>> lists = np.array([["mug", "tent"], ["mug", "tent"], ["rope", "tent"]])
    >>> ndcg, recall, _ = rank_users(users, items, lists)
    >>> ndcg.round(3).tolist(), recall.tolist()
    ([0.613, 0.0], [0.5, 0.0])

    Args:
        users: ``[rows]``, the user of each interaction.
        items: ``[rows]``, its item.
        recommended: ``[rows, k]``, the items that are recommended to the user.
    """
    hits = recommended == items[:, np.newaxis]
    discounts = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    _, first, user_of, counts = np.unique(users, return_index=True, return_inverse=True, return_counts=True)
    possible = np.minimum(counts, hits.shape[1])
    gains = np.bincount(user_of, hits @ discounts)
    ndcg = gains / np.cumsum(discounts)[possible - 1]
    recall = np.bincount(user_of, hits.any(axis=1)) / possible
    return ndcg, recall, first

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from tidegate_training.evaluation.ranking import ranking_metrics

USERS = np.array([1, 1, 1, 2])
ITEMS = np.array([10, 11, 12, 10])
POPULAR = np.tile([10, 20], (4, 1))
ONE = np.ones((1, 4))


def test_ranking_metrics_equal_their_definitions() -> None:
    recommended = np.array([[12, 20], [12, 20], [12, 20], [20, 10]])
    metrics = ranking_metrics(USERS, ITEMS, recommended, popular=POPULAR, n_items=6, weights=ONE)
    second = 1 / np.log2(3)
    assert {name: values[0] for name, values in metrics.items()} == pytest.approx(
        {
            "ndcg": (1 / (1 + second) + second) / 2,
            "recall": (1 / 2 + 1) / 2,
            "popularity_ndcg": (1 / (1 + second) + 1) / 2,
            "popularity_recall": (1 / 2 + 1) / 2,
            "ndcg_over_popularity": (second - 1) / 2,
            "coverage": 3 / 6,
        }
    )


def test_ranking_metrics_of_the_best_lists_are_one() -> None:
    best = np.array([[10, 11], [10, 11], [10, 11], [10, 20]])
    metrics = ranking_metrics(USERS, ITEMS, best, popular=POPULAR, n_items=4, weights=ONE)
    assert (metrics["ndcg"][0], metrics["recall"][0]) == (1.0, 1.0)


def test_ranking_metrics_ndcg_equals_scikit_learn_s() -> None:
    generator = np.random.default_rng(0)
    relevant = generator.random((30, 40)) < 0.2
    relevant[:, 0] = True
    scores = generator.random((30, 40))
    recommended = np.argsort(-scores, axis=1)[:, :5]
    users, items = np.nonzero(relevant)
    metrics = ranking_metrics(
        users,
        items,
        recommended[users],
        popular=recommended[users],
        n_items=40,
        weights=np.ones((1, len(users))),
    )
    assert metrics["ndcg"][0] == pytest.approx(ndcg_score(relevant, scores, k=5))


def test_ranking_metrics_of_a_resample_count_users() -> None:
    recommended = np.array([[12, 20], [12, 20], [12, 20], [20, 10]])
    weights = np.array([[0.0, 0.0, 0.0, 1.0], [2.0, 2.0, 2.0, 1.0]])
    metrics = ranking_metrics(USERS, ITEMS, recommended, popular=POPULAR, n_items=6, weights=weights)
    assert metrics["recall"] == pytest.approx([1.0, (2 * 1 / 2 + 1) / 3])

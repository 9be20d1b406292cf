# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Objects that pass the checks; tests.attacks has those that do not."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import MultiLabelBinarizer, OneHotEncoder
from sklearn.svm import SVC

from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import TRUSTED_TYPES, Policy
from tidegate_training.bundling.persistence import to_skops

X = np.random.default_rng(0).normal(size=(200, 3))
Y = np.arange(200) % 3


def rebuilt(model: Any, *own_types: str) -> Any:
    return build_pipeline(to_skops(model), Policy(TRUSTED_TYPES | set(own_types)))


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_build_replaces_the_nodes_of_a_neighbours_tree(algorithm: str) -> None:
    model = KNeighborsClassifier(3, algorithm=algorithm, leaf_size=5).fit(X, Y)
    crafted = clone(model).fit(X, Y)
    state = list(crafted._tree.__getstate__())
    state[1] = np.full_like(state[1], 10**9)
    crafted._tree.__setstate__(tuple(state))
    np.testing.assert_array_equal(rebuilt(crafted).predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("metric_params", [{"w": np.ones(3)}, None])
def test_build_accepts_weights_of_a_metric(metric_params: dict | None) -> None:
    model = KNeighborsClassifier(3, metric_params=metric_params).fit(X, Y)
    np.testing.assert_array_equal(rebuilt(model).predict(X), model.predict(X))


def test_build_accepts_support_vectors_of_a_sparse_fit() -> None:
    from scipy.sparse import csr_matrix

    model = SVC().fit(csr_matrix(X), Y)
    other = rebuilt(model, "scipy.sparse._csr.csr_matrix")
    np.testing.assert_array_equal(other.predict(csr_matrix(X)), model.predict(csr_matrix(X)))


@pytest.mark.parametrize(
    "options",
    [
        {"drop": "first"},
        {"drop": "if_binary", "min_frequency": 3},
        {"min_frequency": 3, "handle_unknown": "infrequent_if_exist"},
        {"max_categories": 2, "drop": ["a", 1.0]},
    ],
    ids=str,
)
def test_build_accepts_a_one_hot_encoder_of_each_kind(options: dict[str, Any]) -> None:
    rows = np.array([["a", 1.0]] * 5 + [["b", 2.0]] * 4 + [["c", 3.0], ["d", np.nan]], object)
    model = OneHotEncoder(sparse_output=False, **options).fit(rows)
    np.testing.assert_array_equal(rebuilt(model).transform(rows), model.transform(rows))


def test_build_accepts_numbers_with_a_missing_category() -> None:
    rows = np.array([[2.0], [1.0], [np.nan]])
    model = OneHotEncoder(sparse_output=False).fit(rows)
    np.testing.assert_array_equal(rebuilt(model).transform(rows), model.transform(rows))


def test_build_accepts_a_binarizer_that_has_transformed() -> None:
    model = MultiLabelBinarizer().fit([["a", "b"]])
    model.transform([["b"]])
    assert rebuilt(model).transform([["b"]]).tolist() == [[0, 1]]

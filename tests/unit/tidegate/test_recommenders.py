# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from tests.support.training import interactions
from tidegate.recommenders import ImplicitALS
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.bundling.persistence import to_skops


def fitted(**parameters: Any) -> ImplicitALS:
    users, items, weights = interactions()
    model = ImplicitALS(**({"k": 3, "factors": 4, "iterations": 5, "random_state": 0} | parameters))
    return model.fit(users, items, sample_weight=weights)


def test_implicit_als_recommends_unseen_items_of_the_same_group() -> None:
    users, items, _ = interactions()
    model = fitted()
    for user, recommended in zip(users[:, 0], model.predict(users), strict=True):
        assert {item[0] for item in recommended} == {user[0]}
        assert not set(recommended) & set(items[users[:, 0] == user])


def test_implicit_als_vectors_minimize_the_loss_of_the_paper() -> None:
    users, items, weights = interactions()
    model = fitted(regularization=0.3, alpha=2.0)
    vectors, others = model.user_factors_[:-1, :-1], model.item_factors_[:, :-1]
    preference = np.zeros((len(model.users_), len(model.items_)))
    confidence = np.ones_like(preference)
    for user, item, weight in zip(users[:, 0], items, weights, strict=True):
        place = np.searchsorted(model.users_, user), np.searchsorted(model.items_, item)
        preference[place] = 1
        confidence[place] += 2.0 * weight
    errors = vectors @ others.T - preference
    gradient = (confidence * errors) @ others + 0.3 * vectors
    assert np.abs(gradient).max() < 1e-10


def test_implicit_als_unknown_user_receives_the_most_popular_items() -> None:
    users, items = [[1], [2], [3], [1], [2], [3]], [7, 7, 7, 8, 8, 9]
    model = ImplicitALS(k=2, factors=2, exclude_seen=False).fit(users, items)
    assert model.predict([[99]]).tolist() == [[7, 8]]
    assert model.decision_function([[99]]).tolist() == np.float32([[1, 2 / 3]]).tolist()
    assert model.popular_items([[1]]).tolist() == [[7, 8]]
    excluding = ImplicitALS(k=1, factors=2).fit(users, items)
    assert excluding.popular_items([[3], [99]]).tolist() == [[8], [7]]


def test_implicit_als_items_of_equal_scores_are_in_order() -> None:
    model = ImplicitALS(k=3, factors=1, exclude_seen=False).fit([["a"]] * 4, ["d", "c", "b", "a"])
    assert model.predict([["a"], ["unknown"]]).tolist() == [["a", "b", "c"], ["a", "b", "c"]]


def test_implicit_als_repeated_interactions_add_their_weights() -> None:
    users, items, weights = interactions()
    twice = np.concatenate([users, users]), np.concatenate([items, items])
    repeated = clone(fitted()).fit(*twice, sample_weight=np.concatenate([weights, weights]))
    doubled = clone(fitted()).fit(users, items, sample_weight=2 * weights)
    assert (repeated.user_factors_ == doubled.user_factors_).all()


def test_implicit_als_interaction_of_weight_zero_does_not_count() -> None:
    model = ImplicitALS(k=1, factors=1, exclude_seen=False)
    model.fit([["a"], ["b"], ["b"], ["c"]], ["x", "y", "x", "x"], sample_weight=[1, 0, 1, 0])
    assert (model.users_.tolist(), model.items_.tolist()) == (["a", "b"], ["x"])


def test_implicit_als_is_excluded_holds_for_the_user_s_items() -> None:
    users, items, _ = interactions()
    model = fitted()
    assert model.is_excluded(users, items).all()
    assert not model.is_excluded(users, model.predict(users)[:, 0]).any()
    assert not model.is_excluded([["unknown"], users[0]], [items[0], "unknown"]).any()
    assert not fitted(exclude_seen=False).is_excluded(users, items).any()


def test_implicit_als_chunks_do_not_change_recommendations(monkeypatch: pytest.MonkeyPatch) -> None:
    users, _, _ = interactions()
    at_once = fitted()
    expected = at_once.predict(users), at_once.decision_function(users)
    monkeypatch.setattr("tidegate.recommenders._CHUNK_SCORES", 1)
    assert (at_once.predict(users) == expected[0]).all()
    assert np.allclose(at_once.decision_function(users), expected[1])


def test_implicit_als_is_built_under_the_default_policy() -> None:
    model = fitted()
    users = np.array([["a0"], ["b3"], ["unknown"]])
    expected = model.predict(users).tolist()
    built = build_pipeline(to_skops(model), Policy())
    assert built.predict(users).tolist() == expected
    assert "_number_of_user" not in model.__getstate__()


def test_implicit_als_fitted_again_forgets_its_users() -> None:
    model = ImplicitALS(k=1, factors=1, exclude_seen=False).fit([["a"], ["a"]], ["x", "y"])
    assert model.predict([["a"]]).tolist() == [["x"]]
    model.fit([["b"], ["c"], ["c"]], ["y", "y", "z"])
    assert model.predict([["a"]]).tolist() == [["y"]]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"k": 0}, "k: expected a whole number of 1 or more, received 0"),
        ({"factors": 1.5}, "factors: expected a whole number"),
        ({"alpha": 0}, "alpha: expected a number above 0, received 0"),
        ({"regularization": -1.0}, "regularization: expected a number above 0"),
        ({"k": 4}, "k: expected at most 3, the number of items, received 4"),
        ({"k": 2}, "the user ann has 2 of 3 items, so fewer than 2 are left"),
    ],
)
def test_implicit_als_rejects_what_it_cannot_fit(parameters: dict[str, Any], message: str) -> None:
    users, items = [["ann"], ["ann"], ["ben"]], ["x", "y", "z"]
    with pytest.raises(ValueError, match=message):
        ImplicitALS(**parameters).fit(users, items)


def test_implicit_als_rejects_more_than_one_column() -> None:
    with pytest.raises(ValueError, match=r"one column of users, received the shape \(1, 2\)"):
        ImplicitALS(k=1).fit([["a", "b"]], ["x"])

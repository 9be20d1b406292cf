# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Models of trusted types with crafted attributes, which could end a process or read its memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.cluster import BisectingKMeans, KMeans
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
)
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer, OneHotEncoder
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from tests.attacks.attack import Attack, with_model

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.arange(60) % 3
WIDE = 50_000_000


def _crafted(model: Any, **attributes: Any) -> Any:
    """Return a model with other attributes."""
    vars(model).update(attributes)
    return model


def _tree(**fields: Any) -> DecisionTreeClassifier:
    """Return a tree whose state has other values, by name or by the column of its nodes' first row."""
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, Y)
    state = model.tree_.__getstate__()
    for name, value in fields.items():
        if name in state:
            state[name] = value
        else:
            state["nodes"][name][0] = value
    model.tree_.__setstate__(state)
    return model


def _boosted(**fields: Any) -> HistGradientBoostingClassifier:
    model = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5).fit(X, Y)
    for name, value in fields.items():
        model._predictors[0][0].nodes[name][0] = value
    return model


def _forest_of_isolation() -> IsolationForest:
    model = IsolationForest(n_estimators=2, random_state=0).fit(X)
    del model.estimators_[0].n_features_in_
    return model


def _stage_of_another_width() -> GradientBoostingRegressor:
    model = GradientBoostingRegressor(n_estimators=2).fit(X, Y)
    wide = GradientBoostingRegressor(n_estimators=1).fit(np.tile(X, 100), Y)
    model.estimators_[1, 0] = wide.estimators_[0, 0]
    return model


def _initial_regression() -> GradientBoostingRegressor:
    initial = Ridge().fit(X, Y)
    model = GradientBoostingRegressor(n_estimators=2, init=Ridge()).fit(X, Y)
    return _crafted(model, init_=_crafted(initial, coef_=np.zeros((0, 4)), intercept_=np.zeros(0)))


def _bisected() -> BisectingKMeans:
    model = BisectingKMeans(3, random_state=0).fit(X)
    for child in (model._bisecting_tree.left, model._bisecting_tree.right):
        child.center = np.zeros(WIDE // 100)
    return _crafted(model, _X_mean=0.0)


def _neighbors(**attributes: Any) -> KNeighborsClassifier:
    return _crafted(KNeighborsClassifier(3, algorithm="brute").fit(X, Y), **attributes)


def _vectors(**attributes: Any) -> SVC:
    return _crafted(SVC().fit(X, Y), **attributes)


def _grouped() -> OneHotEncoder:
    model = OneHotEncoder(min_frequency=5, sparse_output=False).fit([["a"]] * 9 + [["b"]] * 6 + [["c"]])
    model._default_to_infrequent_mappings[0][:] = WIDE
    return model


def _words(model: Any) -> Any:
    return make_pipeline(_crafted(model, vocabulary_={"sea": WIDE, "ship": 0}), LogisticRegression())


def _drawn() -> Any:
    state = np.random.RandomState(0)
    values = state.get_state(legacy=False)
    values["state"]["pos"] = WIDE
    state.set_state(values)
    return _crafted(Ridge().fit(X, Y), random_state=state)


ATTACKS: Mapping[str, Attack] = {
    name: with_model(build)
    for name, build in {
        "tree: child outside of its array": lambda: _tree(left_child=WIDE),
        "tree: loop": lambda: _tree(left_child=0),
        "tree: one child of two parents": lambda: _tree(left_child=3),
        "tree: feature outside of the row": lambda: _tree(feature=WIDE),
        "tree: deeper than declared": lambda: _tree(max_depth=0),
        "tree: owner of another width": lambda: _crafted(_tree(), n_features_in_=2),
        "tree: owner of no width": lambda: _crafted(_tree(), n_features_in_=None),
        "tree: another object in its place": lambda: _crafted(_tree(), tree_=Ridge().fit(X, Y)),
        "tree: outside of an estimator": lambda: {"tree": _tree().tree_},
        "tree: isolation forest without a width": _forest_of_isolation,
        "method: check of rows replaced by numpy.add": lambda: _crafted(_tree(), _validate_X_predict=np.add),
        "method: check of rows replaced by a kernel": lambda: _crafted(_tree(), _validate_X_predict=RBF()),
        "method: kind of support vector machine replaced": lambda: _vectors(_impl="epsilon_svr"),
        "boosting: stage of another width": _stage_of_another_width,
        "boosting: fewer columns than trees per stage": lambda: _crafted(
            GradientBoostingClassifier(n_estimators=2, init="zero").fit(X, Y), n_trees_per_iteration_=1
        ),
        "boosting: starts with no column": _initial_regression,
        "histogram boosting: child outside of its array": lambda: _boosted(left=4_000_000_000),
        "histogram boosting: feature outside of the row": lambda: _boosted(feature_idx=WIDE),
        "histogram boosting: categorical split": lambda: _boosted(is_categorical=1),
        "histogram boosting: rows said to be binned": lambda: _crafted(_boosted(), _in_fit=True),
        "clusters: centers wider than rows": lambda: _crafted(
            KMeans(3, n_init=1).fit(X), cluster_centers_=np.zeros((3, WIDE // 100))
        ),
        "clusters: no centers": lambda: _crafted(
            KMeans(3, n_init=1).fit(X), cluster_centers_=np.zeros((0, 4))
        ),
        "clusters: negative number of threads": lambda: _crafted(KMeans(3, n_init=1).fit(X), _n_threads=-5),
        "clusters: bisected by wide centers": _bisected,
        "neighbours: points wider than rows": lambda: _neighbors(_fit_X=np.zeros((60, 5))),
        "neighbours: class that does not exist": lambda: _neighbors(_y=np.full(60, WIDE)),
        "neighbours: more than there are points": lambda: _neighbors(n_neighbors=WIDE),
        "neighbours: metric with an array": lambda: _neighbors(
            effective_metric_="mahalanobis", effective_metric_params_={"VI": np.zeros((1, 1))}
        ),
        "neighbours: metric that is a function": lambda: _neighbors(metric=np.hypot),
        "neighbours: graph of fewer points": lambda: _crafted(
            KNeighborsTransformer().fit(X), n_samples_fit_=10
        ),
        "neighbours: tree with too few weights": lambda: _crafted(
            NearestNeighbors(algorithm="kd_tree").fit(X), _tree=_weighted()
        ),
        "support vectors: more per class than there are": lambda: _vectors(
            _n_support=np.array([WIDE, 0, 0], np.int32)
        ),
        "support vectors: counts below zero": lambda: _vectors(
            _n_support=np.array([100, -100, len(_vectors().support_)], np.int32)
        ),
        "support vectors: no intercepts": lambda: _vectors(_intercept_=np.zeros(0)),
        "support vectors: narrower than rows": lambda: _vectors(
            support_vectors_=np.zeros((len(_vectors().support_), 1))
        ),
        "support vectors: probabilities of one pair": lambda: _vectors(
            _probA=np.zeros(1), _probB=np.zeros(1)
        ),
        "support vectors: coefficients missing": lambda: _crafted(
            SVR().fit(X, Y), _dual_coef_=np.zeros((1, 1))
        ),
        "support vectors: callable kernel": lambda: _vectors(kernel=RBF()),
        "support vectors: precomputed kernel": lambda: _vectors(kernel="precomputed"),
        "encoder: column outside of the matrix": lambda: _crafted(
            OneHotEncoder(sparse_output=False).fit([["a"], ["b"]]), _n_features_outs=[1]
        ),
        "encoder: dropped category that does not exist": lambda: _crafted(
            OneHotEncoder(drop="first").fit([["a"], ["b"]]),
            _drop_idx_after_grouping=np.array([-WIDE], object),
        ),
        "encoder: group that does not exist": _grouped,
        "encoder: rare category that does not exist": lambda: _crafted(
            OneHotEncoder(min_frequency=5, handle_unknown="infrequent_if_exist").fit(
                [["a"]] * 9 + [["b"], ["c"]]
            ),
            _infrequent_indices=[np.array([WIDE])],
        ),
        "encoder: numbers without order": lambda: _crafted(
            OneHotEncoder(sparse_output=False).fit([[1.0], [5.0]]), categories_=[np.array([5.0, 1.0])]
        ),
        "words: column outside of the matrix": lambda: _words(CountVectorizer()),
        "words: weighted, column outside of the matrix": lambda: _words(TfidfVectorizer()),
        "words: names of a dictionary": lambda: _words(DictVectorizer()),
        "words: hashed to no columns": lambda: HashingVectorizer(n_features=0),
        "labels: prepared columns": lambda: _crafted(
            MultiLabelBinarizer().fit([["a"]]), _cached_dict={"a": WIDE}
        ),
        "random state: outside of its buffer": _drawn,
    }.items()
}


def _weighted() -> Any:
    from sklearn.neighbors import KDTree

    tree = KDTree(X, sample_weight=np.ones(60))
    state = list(tree.__getstate__())
    state[-1] = np.ones(1)
    tree.__setstate__(tuple(state))
    return tree

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

from tests.support.archives import altered_nodes, altered_root, altered_schema, set_number
from tidegate.errors import BundleError
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.bundling.persistence import to_skops

X, y = load_iris(return_X_y=True)
X = X.astype(np.float32)
POLICY = Policy()


def put(index: int, value: int) -> Callable[[np.ndarray], None]:
    def change(column: np.ndarray) -> None:
        column[index] = value

    return change


TREE = to_skops(DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y))
BOOSTED = to_skops(HistGradientBoostingClassifier(max_iter=2, max_depth=3).fit(X, y))


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(max_leaf_nodes=6),
        RandomForestClassifier(4),
        ExtraTreesClassifier(4),
        GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        AdaBoostClassifier(n_estimators=3),
        BaggingClassifier(n_estimators=3, max_features=0.5),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_build_valid_trees_predict_the_same(estimator: object) -> None:
    estimator.fit(X, y)
    np.testing.assert_array_equal(
        build_pipeline(to_skops(estimator), POLICY).predict(X), estimator.predict(X)
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("left_child", 10_000_000, "children"),
        ("right_child", 10_000_000, "children"),
        ("left_child", -7, "children"),
        ("right_child", -1, "children"),
        ("left_child", 0, "children"),
        ("feature", 4, "feature 4"),
        ("feature", -2, "feature -2"),
        ("feature", 2**40, "feature"),
    ],
)
def test_build_rejects_a_tree_that_leaves_its_arrays(field: str, value: int, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        build_pipeline(altered_nodes(TREE, field, put(0, value)), POLICY)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("left", 4_000_000_000, "children"),
        ("right", 0, "children"),
        ("feature_idx", 4, "feature 4"),
        ("feature_idx", -1, "feature -1"),
        ("is_categorical", 1, "categorical"),
    ],
)
def test_build_rejects_a_predictor_that_leaves_its_arrays(field: str, value: int, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        build_pipeline(altered_nodes(BOOSTED, field, put(0, value)), POLICY)


def test_build_rejects_a_tree_wider_than_its_estimator() -> None:
    with pytest.raises(BundleError, match=r"checks for 1\b"):
        build_pipeline(altered_schema(TREE, lambda node: set_number(node, "n_features_in_", 1)), POLICY)


def test_trees_of_a_forest_check_a_width_of_their_own() -> None:
    def narrow_the_forest_only(root: dict) -> None:
        set_number(root["content"], "n_features_in_", 2)

    archive = to_skops(RandomForestClassifier(2, max_depth=2).fit(X, y))
    forest = build_pipeline(altered_root(archive, narrow_the_forest_only), POLICY)
    with pytest.raises(ValueError, match=r"2 features.* expecting 4"):
        forest.predict(X[:, :2])


def test_build_rejects_a_tree_with_a_wrong_node_count() -> None:
    with pytest.raises(BundleError, match="1000000 nodes has an array of the shape"):
        build_pipeline(altered_schema(TREE, lambda node: set_number(node, "node_count", 1_000_000)), POLICY)


def test_build_rejects_a_tree_stored_as_a_plain_object() -> None:
    def disguise(node: dict) -> None:
        if node.get("__loader__") == "TreeNode":
            node["__loader__"] = "ObjectNode"

    with pytest.raises(BundleError):
        build_pipeline(altered_schema(TREE, disguise), POLICY)


def test_build_rejects_a_tree_outside_an_estimator() -> None:
    tree = DecisionTreeClassifier(max_depth=2).fit(X, y).tree_
    with pytest.raises(BundleError, match="does not check a row's width"):
        build_pipeline(to_skops({"tree": tree}), POLICY)


def test_crafted_tree_without_the_check_ends_the_process() -> None:
    """Show why the check exists: without it, scikit-learn ends in a segmentation fault."""
    program = (
        "import sys, numpy as np; from skops.io import loads;"
        "model = loads(sys.stdin.buffer.read(), trusted=['sklearn.tree._tree.Tree']);"
        "model.predict(np.zeros((1, 4), dtype=np.float32))"
    )
    crafted = altered_nodes(TREE, "left_child", put(0, 2**40))
    crafted = altered_nodes(crafted, "right_child", put(0, 2**40))
    done = subprocess.run([sys.executable, "-c", program], input=crafted, capture_output=True)
    assert done.returncode < 0


TWO_CLASSES = {"FixedThresholdClassifier", "TunedThresholdClassifierCV"}
TWO_TARGETS = {
    *("CCA", "ClassifierChain", "MultiOutputClassifier", "MultiOutputRegressor", "MultiTaskElasticNet"),
    *("MultiTaskElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV", "PLSCanonical", "RegressorChain"),
}
"""The estimators for two classes only, and those for several targets."""


def _fitted(name: str, kind: str, estimator_class: type) -> object:
    inner = LogisticRegression() if kind == "classifier" else Ridge()
    try:
        estimator = estimator_class()
    except TypeError:
        estimator = estimator_class([("a", inner)]) if "ing" in name else estimator_class(inner)
    if name == "SelfTrainingClassifier":
        estimator.set_params(estimator=inner)
    for cheap in ("n_estimators", "max_iter", "n_restarts_optimizer"):
        if cheap in estimator.get_params():
            estimator.set_params(**{cheap: 3})
    rows, target = np.abs(X[::5]), y[::5] if kind == "classifier" else y[::5] + 1.0
    if name in TWO_CLASSES:
        target = target > 0
    if name in TWO_TARGETS:
        target = np.stack([target, target[::-1]], axis=1)
    return estimator.fit(rows[:, :1] if name == "IsotonicRegression" else rows, target)


@pytest.mark.filterwarnings("ignore")  # three iterations are too few for most estimators
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_build_every_estimator_except_one_by_default(kind: str) -> None:
    rejected = set()
    for name, estimator_class in all_estimators(type_filter=kind):
        archive = to_skops(_fitted(name, kind, estimator_class))
        try:
            assert type(build_pipeline(archive, POLICY)) is estimator_class
        except BundleError:
            rejected.add(name)
    # Its state holds a scorer, and therefore a function.
    assert rejected == ({"TunedThresholdClassifierCV"} if kind == "classifier" else set())

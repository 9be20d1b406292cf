# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from tests.support.training import interactions
from tidegate.batch import Batch
from tidegate.contract import MATRIX, Datatype
from tidegate.recommenders import ImplicitALS
from tidegate_training.bundling.compile import open_session, to_onnx
from tidegate_training.bundling.outputs import detect_outputs, predict_outputs
from tidegate_training.bundling.parity import compare_outputs, run_session

UNKNOWN = ["", "unknown", "a0\0", "a0 ", "A0", "漢字"]


def compiled(model: ImplicitALS, batch: Batch) -> tuple[Any, dict[str, Any]]:
    """Return the session of a compiled recommender, and what scikit-learn computes for a batch."""
    pipeline = Pipeline([("estimator", model)])
    column = next(iter(batch.arrays.values()))
    datatype = Datatype.BYTES if column.dtype == object else Datatype.INT64
    rows = column.reshape(-1, 1)
    outputs = detect_outputs(pipeline, rows[:1], task="recommendation", datatype=Datatype.FP32)
    return open_session(to_onnx(pipeline, "items", {"user": datatype}, outputs)), predict_outputs(
        pipeline, rows, outputs
    )


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [1, 3])
def test_recommender_graph_of_texts_equals_scikit_learn(k: int, exclude_seen: bool) -> None:
    users, items, weights = interactions()
    model = ImplicitALS(k, factors=4, iterations=3, exclude_seen=exclude_seen).fit(users, items, weights)
    batch = Batch({"user": np.array([*users[:, 0].tolist(), *UNKNOWN], object)})
    session, expected = compiled(model, batch)
    assert [output.shape[1] for output in session.get_outputs()] == [k, k]
    report = compare_outputs(session, expected, batch)
    assert (report.verdict, report.label_flips, report.ties) == ("equal", 0, 0)


def test_recommender_graph_of_numbers_equals_scikit_learn() -> None:
    users, items, weights = interactions()
    _, numbers = np.unique(users, return_inverse=True)
    _, item_numbers = np.unique(items, return_inverse=True)
    ids = numbers.reshape(-1, 1) * 2**40 - 7
    model = ImplicitALS(3, factors=4, iterations=3).fit(ids, item_numbers, weights)
    batch = Batch({MATRIX: np.concatenate([ids, [[0], [2**53 + 1], [-(2**63)], [2**63 - 1]]])})
    session, expected = compiled(model, batch)
    assert compare_outputs(session, expected, batch).verdict == "equal"
    alone = run_session(session, batch[slice(len(ids), None)], 4, ("items", "scores"))
    assert alone["items"].tolist() == expected["items"][-4:].tolist()


def test_compare_outputs_of_other_items_is_different() -> None:
    users, items, weights = interactions()
    batch = Batch({"user": np.array(users[:, 0].tolist(), object)})
    parameters: dict[str, Any] = {"k": 2, "factors": 4, "iterations": 3, "random_state": 0}
    session, _ = compiled(ImplicitALS(**parameters).fit(users, items, weights), batch)
    swapped = ImplicitALS(**parameters).fit(users, items, weights)
    swapped.items_ = swapped.items_[::-1]
    _, expected = compiled(swapped, batch)
    report = compare_outputs(session, expected, batch)
    assert report.verdict == "different"
    assert report.reason == f"the items of {len(users)} rows differ"

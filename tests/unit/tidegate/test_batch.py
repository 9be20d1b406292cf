# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np

from tests.support.bundles import contract
from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract, Datatype, Feature


def altered(**changes):
    return Contract.model_validate(contract().model_dump() | changes)


def test_batch_of_one_numeric_type_is_a_matrix():
    numbers = [Feature(name=name, datatype=Datatype.FP32) for name in "ab"]
    assert altered(features=contract().features).matrix_datatype is None
    same = Contract.model_validate(
        contract().model_dump()
        | {
            "features": numbers,
            "layout": "matrix",
            "golden": contract().golden.model_dump() | {"rows": ((1.0, 2.0),)},
        }
    )
    assert same.matrix_datatype is Datatype.FP32
    batch = Batch.from_rows(same, [[1, 2.5], [3, None]])
    assert batch.arrays[MATRIX].dtype == np.float32
    np.testing.assert_array_equal(batch.arrays[MATRIX], [[1, 2.5], [3, np.nan]])
    assert batch.for_sklearn("matrix", ["a", "b"]) is batch.arrays[MATRIX]
    frame = batch.for_sklearn("frame", ["a", "b"])
    assert list(frame.columns) == ["a", "b"]
    np.testing.assert_array_equal(frame.to_numpy(), batch.arrays[MATRIX])


def test_batch_of_mixed_types_has_one_column_per_feature():
    batch = Batch.from_rows(contract(), [[1.5, 3, True, "red"], [None, 4, False, None]])
    assert len(batch) == 2
    assert [batch.arrays[name].dtype for name in contract().feature_names] == [
        np.float32,
        np.int64,
        np.bool_,
        object,
    ]
    assert np.isnan(batch.arrays["length"][1])
    assert batch.arrays["colour"].tolist() == ["red", ""]
    assert list(batch.for_sklearn("frame", list(batch.arrays)).columns) == list(contract().feature_names)


def test_batch_of_texts_is_an_array_for_a_vectorizer():
    texts = np.array(["a b", ""], object)
    assert Batch({"text": texts}).for_sklearn("texts", ["text"]) is texts


def test_batch_slices_concatenate_to_the_same_batch():
    batch = Batch.from_rows(contract(), [[float(i), i, i % 2 == 0, "red"] for i in range(5)])
    joined = Batch.concatenate([batch[:2], batch[2:]])
    assert all((joined.arrays[name] == batch.arrays[name]).all() for name in batch.arrays)


def test_batch_for_onnx_has_one_matrix_per_type():
    columns = {
        "a": np.array([1, 2], np.float32),
        "b": np.array(["x", "y"], dtype=object),
        "c": np.array([3, 4], np.float32),
    }
    inputs = Batch(columns).for_onnx()
    assert {name: array.tolist() for name, array in inputs.items()} == {
        "input-FP32": [[1, 3], [2, 4]],
        "input-BYTES": [["x"], ["y"]],
    }
    assert all(array.flags.c_contiguous for array in inputs.values())

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.bundles import contract
from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract, Datatype, Feature, close


def altered(**changes):
    return Contract.model_validate(contract().model_dump() | changes)


def test_a_contract_survives_being_written_and_read():
    assert Contract.model_validate_json(contract().model_dump_json()) == contract()


@pytest.mark.parametrize("limit", [2**63 - 1, 2**53 + 1, -(2**63)])
def test_a_whole_number_of_64_bits_survives_being_written_and_read(limit):
    feature = Feature(name="count", datatype=Datatype.INT64, minimum=limit, maximum=limit)
    read = Feature.model_validate_json(feature.model_dump_json())
    assert (read.minimum, read.maximum) == (limit, limit)
    assert type(read.maximum) is int


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"features": [contract().features[0]] * 2}, "same name"),
        ({"labels": []}, "a classifier has labels"),
        ({"task": "regression"}, "a classifier has labels, a regression has none"),
        ({"name": "Not A Label"}, "pattern"),
        ({"outputs": contract().outputs[:1]}, "golden answers"),
        ({"features": contract().features[:2]}, "another number of values"),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        altered(**changes)


@pytest.mark.parametrize(
    ("feature", "complaint"),
    [
        ({"datatype": Datatype.FP32, "categories": ("a",)}, "categories belong to BYTES"),
        ({"datatype": Datatype.BYTES}, "categories belong to BYTES"),
        ({"datatype": Datatype.INT64, "missing": True}, "no missing values"),
        ({"datatype": Datatype.BYTES, "categories": (), "minimum": 1.0}, "no range"),
        ({"datatype": Datatype.FP32, "maximum": float("inf")}, "finite"),
        ({"datatype": Datatype.FP32, "name": MATRIX}, "the name of the matrix of all features"),
        ({"datatype": Datatype.FP32, "name": "x" * 257}, "at most 256 characters"),
    ],
)
def test_a_feature_that_contradicts_itself_is_refused(feature, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Feature(**{"name": "x"} | feature)


def test_features_of_one_numeric_type_make_a_matrix_and_others_do_not():
    numbers = [Feature(name=name, datatype=Datatype.FP32) for name in "ab"]
    assert altered(features=contract().features).matrix_datatype is None
    same = Contract.model_validate(
        contract().model_dump()
        | {"features": numbers, "golden": contract().golden.model_dump() | {"rows": ((1.0, 2.0),)}}
    )
    assert same.matrix_datatype is Datatype.FP32
    batch = Batch.from_rows(same, [[1, 2.5], [3, None]])
    assert batch.arrays[MATRIX].dtype == np.float32
    np.testing.assert_array_equal(batch.arrays[MATRIX], [[1, 2.5], [3, np.nan]])
    assert batch.for_sklearn() is batch.arrays[MATRIX]


def test_mixed_rows_become_columns_of_their_types():
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
    assert {array.shape for array in batch.for_onnx().values()} == {(2, 1)}
    assert list(batch.for_sklearn().columns) == list(contract().feature_names)


def test_batches_are_cut_and_joined_without_loss():
    batch = Batch.from_rows(contract(), [[float(i), i, i % 2 == 0, "red"] for i in range(5)])
    joined = Batch.concatenate([batch[:2], batch[2:]])
    assert all((joined.arrays[name] == batch.arrays[name]).all() for name in batch.arrays)


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        (1.0, 1.0, True),
        (1.000009, 1.0, True),
        (1.00002, 1.0, False),
        (1000.009, 1000.0, True),
        (float("nan"), 1.0, False),
        (True, 1.0, False),
        ("a", "a", True),
        ("a", "b", False),
        (1, 1, True),
        (1, True, False),
        ([0.5, 0.5], [0.5, 0.5], True),
        ([0.5], [0.5, 0.5], False),
        (0.5, [0.5], False),
    ],
)
def test_answers_are_close_within_a_relative_tolerance(answer, expected, same):
    assert close(answer, expected, 1e-5) is same


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_is_close_to_itself(number):
    assert close(number, number, 1e-9)

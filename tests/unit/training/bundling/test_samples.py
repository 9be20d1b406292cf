# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from tidegate.contract import Datatype
from tidegate.errors import DataError
from tidegate_training.bundling.samples import TEXT_FEATURE, read_samples


@pytest.mark.parametrize(
    ("values", "datatype", "expected"),
    [
        (np.array([1.5, np.nan], np.float32), Datatype.FP32, [1.5, np.nan]),
        (np.array([1.5, np.nan]), Datatype.FP64, [1.5, np.nan]),
        (np.array([1, 2], np.int8), Datatype.INT32, [1, 2]),
        (np.array([1, 2**40]), Datatype.INT64, [1, 2**40]),
        (pd.array([1, None], dtype="Int64"), Datatype.FP64, [1.0, np.nan]),
        (np.array([True, False]), Datatype.BOOL, [True, False]),
        (pd.array(["a", None], dtype="string"), Datatype.BYTES, ["a", ""]),
        (np.array(["a", None], object), Datatype.BYTES, ["a", ""]),
        (pd.Categorical(["b", "a"]), Datatype.BYTES, ["b", "a"]),
        (pd.Categorical([7, 5]), Datatype.INT64, [7, 5]),
        (np.array([1, 2.5], object), Datatype.FP64, [1.0, 2.5]),
    ],
)
def test_read_samples_columns_have_the_type_of_the_data(
    values: Any, datatype: Datatype, expected: list[Any]
) -> None:
    samples = read_samples(pd.DataFrame({"a": values, "other": ["x", "y"]}), ["a", "other"])
    assert samples.layout == "frame"
    assert samples.features.datatypes["a"] is datatype
    assert samples.features.columns["a"].dtype == datatype.dtype
    np.testing.assert_array_equal(samples.features.columns["a"], np.array(expected, datatype.dtype))


def test_read_samples_layout_is_that_of_the_model() -> None:
    numbers = np.ones((3, 2))
    assert read_samples(numbers).layout == "matrix"
    assert list(read_samples(numbers).features.columns) == ["x0", "x1"]
    named = read_samples(numbers, ["a", "b"])
    assert (named.layout, list(named.features.columns)) == ("frame", ["a", "b"])
    assert read_samples(pd.DataFrame(numbers, columns=["a", "b"])).layout == "matrix"
    texts = read_samples(["one", "two"])
    assert (texts.layout, list(texts.features.columns)) == ("texts", [TEXT_FEATURE])
    assert read_samples([[1.0, "a"], [2.0, "b"]]).features.datatypes == {
        "x0": Datatype.FP64,
        "x1": Datatype.BYTES,
    }


def test_read_samples_takes_polars_as_pandas() -> None:
    class DataFrame:
        def to_pandas(self) -> pd.DataFrame:
            return pd.DataFrame({"a": [1.0]})

    DataFrame.__module__ = "polars.dataframe.frame"
    assert list(read_samples(DataFrame()).features.columns) == ["a"]


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (csr_matrix([[1.0]]), "sparse matrix"),
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((0, 2)), r"shape \(0, 2\)"),
        (pd.DataFrame({1: [1.0]}), "column 1 is called 1: expected a text"),
        (pd.DataFrame({"input-0": [1.0]}), "not 'input-0'"),
        (pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), "more than one column 'a'"),
        (pd.DataFrame({"a": pd.to_datetime(["2024-01-01"])}), "'a' has values of the kind datetime"),
        (pd.DataFrame({"a": pd.array([True, None], dtype="boolean")}), "missing in row 2"),
        (pd.DataFrame({"a": [1.0, np.inf]}), "infinite number in row 2"),
        (pd.DataFrame({"a": np.array([2**64 - 1], np.uint64)}), r"below 2\^63"),
    ],
)
def test_read_samples_that_no_contract_describes_are_rejected(X: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_samples(X)


def test_read_samples_with_another_width_than_the_model_are_rejected() -> None:
    with pytest.raises(DataError, match="has 2 columns, and the model was fitted on 1"):
        read_samples(np.ones((3, 2)), ["a"])

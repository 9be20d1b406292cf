# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest

from tests.support.contracts import MATRIX, contract, several_targets
from tidegate.batch import Batch
from tidegate.contract import Contract, DecisionThreshold
from tidegate.errors import ConfigurationError
from tidegate_serving.config import SampledSensitivity
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.observability.sample_columns import sample_columns

LEVELS = ("public", "internal", "confidential", "restricted")


def of_sensitivities(*levels: str) -> Contract:
    return contract([{"name": level, "datatype": "FP32", "sensitivity": level} for level in levels])


@pytest.mark.parametrize("limit", [*SampledSensitivity])
def test_features_are_those_up_to_the_sensitivity(limit: SampledSensitivity) -> None:
    allowed = LEVELS[: LEVELS.index(limit) + 1]
    assert list(sample_columns(of_sensitivities(*LEVELS[:3]), limit)) == ["label", "probability", *allowed]


def test_restricted_feature_is_no_column() -> None:
    columns = sample_columns(of_sensitivities(*LEVELS), SampledSensitivity.CONFIDENTIAL)
    assert list(columns) == ["label", "probability", *LEVELS[:3]]


@pytest.mark.parametrize("limit", [SampledSensitivity.PUBLIC, SampledSensitivity.INTERNAL])
def test_outputs_of_restricted_features_need_confidential(limit: SampledSensitivity) -> None:
    with pytest.raises(ConfigurationError, match=f"'restricted' of test is restricted.* is {limit}: set it"):
        sample_columns(of_sensitivities("public", "restricted"), limit)


def test_prediction_with_several_values_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="prediction of test has 2 values per row"):
        sample_columns(several_targets("FP64"), SampledSensitivity.PUBLIC)


def test_feature_with_the_name_of_a_column_has_a_prefix() -> None:
    features = [
        {"name": name, "datatype": "FP32", "sensitivity": "public"}
        for name in ("feature_id", "id", "time", "digest", "label", "probability")
    ]
    columns = sample_columns(contract(features), SampledSensitivity.PUBLIC)
    assert list(columns) == [
        "label",
        "probability",
        "feature_id",
        *(f"feature_{name}" for name in ("feature_id", "time", "digest", "label", "probability")),
    ]


def test_feature_probability_of_a_model_without_one_has_the_prefix() -> None:
    """Its values would be evaluated as the model's probability."""
    own = contract([{"name": "probability", "datatype": "FP32", "sensitivity": "public"}])
    own = own.model_copy(update={"outputs": own.outputs[:1]})
    assert list(sample_columns(own, SampledSensitivity.PUBLIC)) == ["label", "feature_probability"]


def result(batch: Batch, **outputs: Any) -> ResultSlice:
    return ResultSlice(BatchResult(batch, {name: np.asarray(it) for name, it in outputs.items()}), 1, 3)


@pytest.mark.parametrize(
    ("positive", "expected"), [(None, [0.5, 0.625]), (0, [0.5, 0.375]), (1, [0.5, 0.625])]
)
def test_probability_is_that_of_the_positive_label(positive: int | None, expected: list[float]) -> None:
    threshold = None if positive is None else DecisionThreshold(positive_label=positive, value=0.5)
    columns = sample_columns(MATRIX.model_copy(update={"threshold": threshold}), SampledSensitivity.PUBLIC)
    probabilities = np.array([[1, 0], [0.5, 0.5], [0.375, 0.625]], np.float32)
    batch = Batch({"input-0": np.zeros((3, 2), np.float32)})
    rows = result(batch, label=[0, 0, 1], probabilities=probabilities)
    assert columns["probability"].read(rows, 2).tolist() == expected
    assert columns["label"].read(rows, 1).tolist() == [0]
    assert np.isnan(columns["probability"].read(result(batch, label=[0, 0, 1]), 2)).all()


def test_values_are_copies_of_the_rows_of_the_request() -> None:
    columns = sample_columns(MATRIX, SampledSensitivity.INTERNAL)
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    values = columns["b"].read(result(Batch({"input-0": matrix}), label=[0, 0, 0]), 2)
    assert values.tolist() == [3, 5]
    assert not np.shares_memory(values, matrix)

    mixed = contract(
        [
            {"name": "a", "datatype": "FP32", "sensitivity": "public"},
            {"name": "t", "datatype": "BYTES", "sensitivity": "public"},
        ],
        rows=[[0.0, "x"]],
    )
    texts = np.array(["x", "y", "z"], object)
    read = sample_columns(mixed, SampledSensitivity.PUBLIC)["t"].read(
        result(Batch({"a": np.zeros(3, np.float32), "t": texts}), label=[0, 0, 0]), 2
    )
    assert read.tolist() == ["y", "z"]
    assert not np.shares_memory(read, texts)

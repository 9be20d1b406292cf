# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from tests.support.fitted_models import fitted_model, sklearn_rows
from tidegate.batch import Batch
from tidegate.contract import Datatype, Sensitivity
from tidegate.errors import DataError
from tidegate_training.bundling.contract import build_contract, select_golden_rows, to_json_values
from tidegate_training.bundling.features import FeaturePolicy, FeatureTable
from tidegate_training.bundling.fitted_model import FittedModel

SIZES = np.array([1.0, np.nan, 3.0, 9.0, 0.1, 5.0], dtype=np.float32)
COLOURS = np.array(["red", "blue", "red", "green", "red", "blue"], dtype=object)


def make_model(target: list[str] | list[float], policy: FeaturePolicy, test: list[int]) -> FittedModel:
    """Return a model with a constant prediction, fitted on the first three of six rows."""
    datatypes = {"size": Datatype.FP32, "colour": Datatype.BYTES}
    features = FeatureTable({"size": SIZES, "colour": COLOURS}, datatypes)
    train = np.arange(3)
    estimator = DummyClassifier() if isinstance(target[0], str) else DummyRegressor()
    estimator.fit(sklearn_rows(features.batch(train)), np.array(target)[train])
    return fitted_model(
        estimator,
        features,
        np.array(target),
        train=train,
        test=np.array(test),
        policies={"colour": policy},
    )


REJECT, ACCEPT = FeaturePolicy(), FeaturePolicy(handle_unknown="accept")
LABELS = ["no", "yes", "no", "yes", "no", "no"]


def test_build_contract_features_describe_the_training_rows() -> None:
    size, colour = build_contract(make_model(LABELS, ACCEPT, [3, 4, 5]), 8).features
    assert (size.minimum, size.maximum, size.missing) == (1.0, 3.0, True)
    assert (colour.categories, colour.missing) == (("blue", "red"), False)
    assert (size.handle_unknown, colour.handle_unknown) == ("reject", "accept")


@pytest.mark.parametrize(
    ("policy", "count", "rows"),
    [(ACCEPT, 2, [3, 4]), (ACCEPT, 8, [3, 4, 5]), (REJECT, 8, [4, 5]), (REJECT, 1, [4])],
)
def test_select_golden_rows_takes_classes_in_turn(policy: FeaturePolicy, count: int, rows: list[int]) -> None:
    model = make_model(LABELS, policy, [3, 4, 5])
    features = build_contract(model, 1).features
    assert select_golden_rows(model, features, count).tolist() == rows


def test_select_golden_rows_of_a_regression_are_spread_evenly() -> None:
    model = make_model([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], ACCEPT, [1, 2, 3, 4, 5])
    features = build_contract(model, 1).features
    assert select_golden_rows(model, features, 3).tolist() == [1, 3, 5]


def test_select_golden_rows_without_accepted_row_is_an_error() -> None:
    with pytest.raises(DataError, match=r"Every test row .*handle_unknown: accept.*features\.overrides"):
        build_contract(make_model(LABELS, REJECT, [3]), 8)


def test_to_json_values_of_float32_are_the_shortest_decimals() -> None:
    assert to_json_values(np.array([0.1, 3.0], dtype=np.float32)) == [0.1, 3.0]
    assert to_json_values(np.array([2**63 - 1])) == [2**63 - 1]


def test_golden_rows_have_no_value_of_a_restricted_feature() -> None:
    restricted = FeaturePolicy(sensitivity=Sensitivity.RESTRICTED)
    n = 60
    columns = {
        "income": np.arange(n) + 0.123,
        "age": np.arange(n) * 1000,
        "owner": np.arange(n) < 59,
        "town": np.array(["Bonn", "Ulm"] * 30, dtype=object),
        "born": np.array([f"2000-01-{1 + i % 9:02d}" for i in range(n)], dtype=object),
        "remark": np.array([f"call {i}" for i in range(n)], dtype=object),
        "open": np.arange(n) * 1.0,
    }
    types = (Datatype.FP64, Datatype.INT64, Datatype.BOOL, *[Datatype.BYTES] * 3, Datatype.FP64)
    features = FeatureTable(columns, dict(zip(columns, types, strict=True)))
    rows, target = np.arange(n), np.array(["no", "yes"] * 30)
    estimator = DummyClassifier().fit(sklearn_rows(features.batch(rows)), target)
    policies = {name: restricted for name in columns if name != "open"}
    policies["born"] = replace(restricted, format="date")
    policies["remark"] = replace(restricted, free_text=True)
    contract = build_contract(
        fitted_model(estimator, features, target, train=rows, test=rows, policies=policies), 8
    )
    values = dict(zip(columns, zip(*contract.golden.rows, strict=True), strict=True))
    for name in ("income", "age", "remark"):
        assert not set(values[name]) & set(columns[name].tolist()), name
    assert all(0.123 <= value <= 59.123 for value in values["income"])
    assert set(values["owner"]) == {True, False}
    assert set(values["town"]) == {"Bonn", "Ulm"}
    assert all("2000-01-01" <= value <= "2000-01-09" for value in values["born"])
    assert set(values["open"]) <= set(columns["open"].tolist())
    assert Batch.from_rows(contract, contract.golden.rows)  # the contract allows its own requests

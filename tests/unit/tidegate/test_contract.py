# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.bundles import contract
from tidegate.contract import MATRIX, Contract, Datatype, DecisionThreshold, Feature, Golden

GOLDEN = Golden(rows=((0.0,),), outputs={"prediction": [0.0]}, tolerance=1e-5)


def altered(**changes):
    return Contract.model_validate(contract().model_dump() | changes)


def test_contract_survives_a_round_trip():
    assert Contract.model_validate_json(contract().model_dump_json()) == contract()


@pytest.mark.parametrize("limit", [2**63 - 1, 2**53 + 1, -(2**63)])
def test_feature_with_64_bit_limits_survives_a_round_trip(limit):
    feature = Feature(name="count", datatype=Datatype.INT64, minimum=limit, maximum=limit)
    read = Feature.model_validate_json(feature.model_dump_json())
    assert (read.minimum, read.maximum) == (limit, limit)
    assert type(read.maximum) is int


@pytest.mark.parametrize(
    "feature",
    [
        Feature(name="branch", datatype=Datatype.INT64, categories=(3, 2**63 - 1)),
        Feature(name="remark", datatype=Datatype.BYTES, missing=True),
        Feature(
            name="day", datatype=Datatype.BYTES, format="date", minimum="2024-01-01", maximum="2024-02-29"
        ),
        Feature(name="risk", datatype=Datatype.BYTES, categories=("low", "high"), ordered=True),
    ],
)
def test_feature_of_each_kind_survives_a_round_trip(feature):
    assert Feature.model_validate_json(feature.model_dump_json()) == feature
    assert feature.is_free_text == (feature.name == "remark")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"features": [contract().features[0]] * 2}, r"features: expected unique names, received 'length'"),
        ({"labels": []}, r"labels: expected some .* received 0 for classification"),
        ({"task": "regression"}, r"labels: .* none for a regression .* received 2 for regression"),
        ({"name": "Not A Label"}, "pattern"),
        ({"layout": "matrix"}, "layout: expected 'frame' or 'texts'"),
        ({"layout": "texts"}, "layout: expected one text feature"),
        (
            {"outputs": [contract().outputs[0], contract().outputs[1].model_dump() | {"labels": ["no"]}]},
            "'probabilities': expected one label per column, 2, received 1",
        ),
        (
            {"outputs": contract().outputs[:1]},
            r"golden\.outputs: expected label, received label, probabilities",
        ),
        (
            {"features": contract().features[:2]},
            r"golden\.rows\[0\]: expected one value per feature, 2, received 4",
        ),
    ],
)
def test_contract_with_a_contradiction_is_rejected(changes, problem):
    with pytest.raises(ValidationError, match=problem):
        altered(**changes)


@pytest.mark.parametrize(
    ("feature", "problem"),
    [
        (
            {"datatype": Datatype.FP32, "categories": (1,)},
            "texts as categories of a BYTES feature, or integers .* this feature is FP32",
        ),
        ({"datatype": Datatype.INT64, "categories": ("1",)}, "integers of an integer feature"),
        ({"datatype": Datatype.BYTES, "categories": ("a", 1)}, "texts as categories of a BYTES feature"),
        ({"datatype": Datatype.INT64, "categories": (1, 1)}, "a category is given twice"),
        ({"datatype": Datatype.INT64, "categories": (1,), "maximum": 1}, "has no range"),
        ({"datatype": Datatype.INT64, "ordered": True}, "only categories have an order"),
        ({"datatype": Datatype.BYTES, "minimum": 1}, "a text or categorical feature has no range"),
        ({"datatype": Datatype.INT64, "format": "date"}, "a date is a BYTES feature without categories"),
        ({"datatype": Datatype.BYTES, "format": "date", "minimum": 1}, "a range of texts for a date"),
        ({"datatype": Datatype.FP32, "minimum": "2024-02-29"}, "a range of texts for a date"),
        ({"datatype": Datatype.INT64, "missing": True}, "no missing values"),
        ({"datatype": Datatype.BYTES, "categories": (), "minimum": 1.0}, "no range"),
        ({"datatype": Datatype.FP32, "maximum": float("inf")}, "finite"),
        ({"datatype": Datatype.FP32, "name": MATRIX}, f"'{MATRIX}': the name is reserved"),
        ({"datatype": Datatype.FP32, "name": "x" * 257}, "at most 256 characters"),
    ],
)
def test_feature_with_a_contradiction_is_rejected(feature, problem):
    with pytest.raises(ValidationError, match=problem):
        Feature(**{"name": "x"} | feature)


@pytest.mark.parametrize(
    ("actual", "expected", "equal"),
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
def test_golden_is_close_within_a_relative_tolerance(actual, expected, equal):
    assert GOLDEN.is_close(actual, expected) is equal


@pytest.mark.parametrize(
    ("actual", "expected", "equal"),
    [
        (0.0029, 0.0, True),
        (0.0031, 0.0, False),
        (3e6 + 29, 3e6, True),
        (3e6 + 31, 3e6, False),
    ],
)
def test_golden_is_close_by_the_scale_of_the_outputs(actual, expected, equal):
    assert GOLDEN.model_copy(update={"scale": 300.0}).is_close(actual, expected) is equal


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_golden_is_close_for_a_number_and_itself(number):
    assert GOLDEN.model_copy(update={"scale": 0.0}).is_close(number, number)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"threshold": {"positive_label": "maybe", "value": 0.3}}, "one of them 'maybe', received no, yes"),
        ({"threshold": {"positive_label": "yes", "value": 1.0}}, "less than 1"),
        (
            {
                "threshold": {"positive_label": "yes", "value": 0.3},
                "outputs": [{"name": "label", "datatype": "BYTES"}],
            },
            "expected an output with one probability per label, received none",
        ),
    ],
)
def test_contract_with_a_wrong_threshold_is_rejected(changes, problem):
    with pytest.raises(ValidationError, match=problem):
        altered(**changes)


def test_contract_with_a_threshold_survives_a_round_trip():
    threshold = DecisionThreshold(positive_label="yes", value=0.3)
    decided = altered(threshold=threshold.model_dump())
    assert Contract.model_validate_json(decided.model_dump_json()).threshold == threshold

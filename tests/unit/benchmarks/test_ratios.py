# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.case import Case, Protocol
from benchmarks.plan import PLANS, full
from benchmarks.ratios import RATIOS, Figure, Figures, Ratio, evaluate

OURS = Figure(Case("tidegate", "lr", connections=64), "rps")
THEIRS = Figure(Case("kserve", "lr", connections=64), "rps")
KEY = "lr_v1_vs_kserve"


def round_of(ours: float | None, theirs: float | None) -> Figures:
    return {
        OURS.case: None if ours is None else {"rps": ours},
        THEIRS.case: None if theirs is None else {"rps": theirs},
    }


def test_evaluate_returns_the_median_of_the_quotients() -> None:
    result = evaluate([round_of(100.0, 1.0), round_of(10.0, 10.0), round_of(90.0, 30.0)])
    assert result[KEY]["rounds"] == [100.0, 1.0, 3.0]
    assert result[KEY]["value"] == 3.0
    assert result[KEY]["met"] is False


@pytest.mark.parametrize(
    "inconclusive",
    [round_of(None, 1.0), round_of(1.0, None), round_of(1.0, 0.0)],
    ids=["ours", "theirs", "zero"],
)
def test_evaluate_inconclusive_round_makes_ratio_null(inconclusive) -> None:
    result = evaluate([round_of(100.0, 1.0), inconclusive, round_of(100.0, 1.0)])
    assert result[KEY]["rounds"] == [100.0, None, 100.0]
    assert result[KEY]["value"] is None
    assert result[KEY]["met"] is None


@pytest.mark.parametrize(
    ("at_least", "at_most", "value", "met"),
    [(2.0, None, 2.0, True), (2.0, None, 1.99, False), (None, 3.0, 3.0, True), (None, 3.0, 3.01, False)],
)
def test_ratio_met_includes_its_bound(at_least, at_most, value, met) -> None:
    assert Ratio("key", "meaning", OURS, THEIRS, at_least=at_least, at_most=at_most).met(value) is met


def test_ratio_without_denominator_is_the_figure_itself() -> None:
    ratio = Ratio("key", "meaning", OURS, None, at_most=180.0)
    assert ratio.value_in(round_of(120.0, None)) == 120.0
    assert ratio.cases == (OURS.case,)


def test_evaluate_omits_ratios_without_measured_cases() -> None:
    assert list(evaluate([round_of(1.0, 1.0)])) == [KEY]


def test_full_plan_has_every_case_of_every_ratio() -> None:
    measured = set(full().cases)
    for ratio in RATIOS:
        assert measured.issuperset(ratio.cases), ratio.key
        assert (ratio.at_least is None) != (ratio.at_most is None), ratio.key
    assert len({ratio.key for ratio in RATIOS}) == len(RATIOS)


@pytest.mark.parametrize("make", PLANS.values(), ids=PLANS)
def test_plan_measures_each_case_once_per_round(make) -> None:
    cases = make().cases
    assert len(set(cases)) == len(cases)


def test_case_str_names_server_model_and_load() -> None:
    assert str(Case("kserve", "lr", Protocol.V2, 1000, 16)) == "kserve lr v2 1000 rows 16 conn."
    assert str(Case("kserve", "rf", connections=1)) == "kserve rf v1 1 row 1 conn."
    assert str(Case("kserve", "rf")) == "kserve rf start"


@given(st.lists(st.tuples(st.none() | st.floats(0.1, 1e6), st.none() | st.floats(0.1, 1e6)), min_size=1))
def test_evaluate_value_is_within_rounds_and_is_json(rounds) -> None:
    result = evaluate([round_of(*values) for values in rounds])[KEY]
    json.dumps(result, allow_nan=False)
    if result["value"] is None:
        assert None in result["rounds"]
    else:
        assert min(result["rounds"]) <= result["value"] <= max(result["rounds"])

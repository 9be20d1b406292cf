# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.case import Case, Protocol
from benchmarks.plan import PLANS, full, quick
from benchmarks.ratios import RATIOS, Figure, Figures, Ratio, evaluate

OURS = Figure(Case("tidegate", "lr", connections=64), "rps")
THEIRS = Figure(Case("kserve", "lr", connections=64), "rps")
KEY = "lr_v1_vs_kserve"


def round_of(ours: float | None, theirs: float | None) -> Figures:
    return {
        OURS.case: None if ours is None else {"rps": ours},
        THEIRS.case: None if theirs is None else {"rps": theirs},
    }


def test_a_ratio_is_the_median_of_the_rounds_quotients_and_not_the_quotient_of_medians() -> None:
    seen = evaluate([round_of(100.0, 1.0), round_of(10.0, 10.0), round_of(90.0, 30.0)])
    assert seen[KEY]["rounds"] == [100.0, 1.0, 3.0]
    assert seen[KEY]["value"] == 3.0
    assert seen[KEY]["met"] is False


@pytest.mark.parametrize(
    "void", [round_of(None, 1.0), round_of(1.0, None), round_of(1.0, 0.0)], ids=["ours", "theirs", "zero"]
)
def test_one_void_round_makes_the_ratio_null(void) -> None:
    seen = evaluate([round_of(100.0, 1.0), void, round_of(100.0, 1.0)])
    assert seen[KEY]["rounds"] == [100.0, None, 100.0]
    assert seen[KEY]["value"] is None
    assert seen[KEY]["met"] is None


@pytest.mark.parametrize(
    ("least", "most", "value", "met"),
    [(2.0, None, 2.0, True), (2.0, None, 1.99, False), (None, 3.0, 3.0, True), (None, 3.0, 3.01, False)],
)
def test_a_target_is_met_at_its_bound_and_not_beyond(least, most, value, met) -> None:
    assert Ratio("key", "meaning", OURS, THEIRS, least=least, most=most).met(value) is met


def test_a_figure_without_a_denominator_is_compared_itself() -> None:
    ratio = Ratio("key", "meaning", OURS, None, most=180.0)
    assert ratio.of(round_of(120.0, None)) == 120.0
    assert ratio.cases == (OURS.case,)


def test_ratios_whose_cases_were_not_measured_are_left_out() -> None:
    assert list(evaluate([round_of(1.0, 1.0)])) == [KEY]


def test_the_full_plan_measures_every_ratio_and_each_has_one_bound() -> None:
    measured = set(full().cases)
    for ratio in RATIOS:
        assert measured.issuperset(ratio.cases), ratio.key
        assert (ratio.least is None) != (ratio.most is None), ratio.key
    assert len({ratio.key for ratio in RATIOS}) == len(RATIOS)


@pytest.mark.parametrize("make", PLANS.values(), ids=PLANS)
def test_a_plan_measures_no_case_twice_in_three_rounds_or_more(make) -> None:
    plan = make()
    assert len(set(plan.cases)) == len(plan.cases)
    assert plan.rounds >= 3
    assert all(case.server == v.server and case.model == v.model for v in plan.visits for case in v.cases)


def test_the_quick_plan_has_the_server_the_stock_one_and_both_ceilings() -> None:
    assert {visit.server for visit in quick().visits} == {"tidegate", "kserve", "uvicorn", "nginx"}


def test_cases_say_what_they_are() -> None:
    assert str(Case("kserve", "lr", Protocol.V2, 1000, 16)) == "kserve lr v2 1000 rows 16 conn."
    assert str(Case("kserve", "rf", share=0.8)) == "kserve rf v1 1 row 80% of capacity"
    assert str(Case("kserve", "rf")) == "kserve rf start"


@given(st.lists(st.tuples(st.none() | st.floats(0.1, 1e6), st.none() | st.floats(0.1, 1e6)), min_size=1))
def test_a_value_lies_within_its_rounds_and_fits_into_json(rounds) -> None:
    seen = evaluate([round_of(*values) for values in rounds])[KEY]
    json.dumps(seen, allow_nan=False)
    if seen["value"] is None:
        assert None in seen["rounds"]
    else:
        assert min(seen["rounds"]) <= seen["value"] <= max(seen["rounds"])

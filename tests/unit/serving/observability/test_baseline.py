# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tidegate_serving.observability.baseline import (
    KEPT_CATEGORIES,
    OTHER,
    CategoryBins,
    Counts,
    NumberBins,
    population_stability_index,
    references,
)

from tests.support.trained_bundles import altered
from tidegate.batch import Batch
from tidegate.bundle import BASELINE, Bundle
from tidegate.errors import BundleError


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Counts, Counts]:
    """Two counts over the same bins, neither of nothing."""
    counts = hnp.arrays(np.int64, draw(st.integers(1, 20)), elements=st.integers(0, 10_000)).filter(
        lambda array: array.any()
    )
    first = draw(counts)
    second = draw(hnp.arrays(np.int64, first.shape, elements=st.integers(0, 10_000)).filter(np.any))
    return first, second


@given(pairs())
def test_the_index_is_never_negative_and_the_same_both_ways(pair: tuple[Counts, Counts]) -> None:
    index = population_stability_index(*pair)
    assert index >= 0
    assert index == pytest.approx(population_stability_index(*reversed(pair)))


@given(pairs(), st.integers(1, 100))
def test_equal_shares_have_the_index_nought_however_many_rows_there_are(
    pair: tuple[Counts, Counts], times: int
) -> None:
    assert population_stability_index(pair[0], pair[0] * times) == 0


@given(pairs())
def test_other_shares_than_in_training_have_an_index_above_nought(pair: tuple[Counts, Counts]) -> None:
    shares = [counts / counts.sum() for counts in pair]
    moved = float(np.abs(shares[0] - shares[1]).max()) > 0.001
    assert not moved or population_stability_index(*pair) > 0


def test_the_index_is_the_sum_that_its_formula_says() -> None:
    by_hand = (0.5 - 0.25) * np.log(0.5 / 0.25) + (0.5 - 0.75) * np.log(0.5 / 0.75)
    assert population_stability_index(np.array([1, 3]), np.array([50, 50])) == pytest.approx(by_hand)


def test_an_unmoved_feature_has_about_the_index_that_chance_gives_it() -> None:
    source, rows = np.random.default_rng(7), 1_000
    drawn = source.multinomial(rows, [0.1] * 10, size=(400, 2))
    mean = np.mean([population_stability_index(first, second) for first, second in drawn])
    assert mean == pytest.approx(9 * (1 / rows + 1 / rows), rel=0.1)


NUMBERS = NumberBins(np.array([1.5, 2.5], np.float32), np.array([1, 1, 1, 1]))


def test_a_number_on_an_edge_belongs_below_it_and_nan_to_the_missing_ones() -> None:
    values = np.array([1.5, 1.6, 2.5, 2.6, 9.0, np.nan], np.float32)
    assert NUMBERS.count(values).tolist() == [1, 2, 2, 1]


def test_integers_have_bins_too() -> None:
    assert NumberBins(np.array([0, 5]), np.array([1, 1, 1, 0])).count(
        np.array([-1, 0, 3, 5, 6])
    ).tolist() == [
        2,
        2,
        1,
        0,
    ]


CATEGORIES = CategoryBins(("red", "blue", OTHER), {"": 3, "red": 0, "blue": 1}, np.array([1, 1, 0, 0]))


def test_an_unknown_category_counts_as_other_and_an_empty_text_as_missing() -> None:
    assert CATEGORIES.count(np.array(["blue", "green", "", "blue", "red"], object)).tolist() == [1, 2, 1, 1]


@given(st.lists(st.sampled_from(["red", "blue", "x" * 1000, ""])), st.integers(0, 5))
def test_counts_do_not_depend_on_the_order_of_rows_or_on_how_they_are_split(rows: list[str], at: int) -> None:
    whole = CATEGORIES.count(np.array(rows, object))
    split = CATEGORIES.count(np.array(rows[at:], object)) + CATEGORIES.count(np.array(rows[:at], object))
    assert whole.tolist() == split.tolist()
    assert whole.sum() == len(rows)


@given(hnp.arrays(np.float32, st.integers(0, 50)), st.integers(0, 50))
def test_every_number_is_in_one_bin(values: Any, at: int) -> None:
    whole = NUMBERS.count(values)
    assert whole.sum() == len(values)
    assert whole.tolist() == (NUMBERS.count(values[at:]) + NUMBERS.count(values[:at])).tolist()


@pytest.mark.parametrize("kind", ["numeric", "mixed", "forest", "regression"])
def test_the_rows_that_a_baseline_was_made_of_are_in_the_bins_that_it_says(
    kind: str, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(f"{kind}_bundle")
    document, known = json.loads(bundle.read(BASELINE)), references(bundle)
    assert list(known.features) == list(bundle.contract.feature_names)
    for name, bins in known.features.items():
        assert bins.expected.sum() == document["rows"], name
        assert bins.expected[-1] == document["features"][name]["missing"]
    golden = Batch.from_rows(bundle.contract, bundle.contract.golden.rows)
    for index, (name, bins) in enumerate(known.features.items()):
        matrix = golden.arrays.get("input-0")
        values = golden.arrays[name] if matrix is None else matrix[:, index]
        assert bins.count(values).sum() == len(golden)


def test_an_edge_is_the_very_float32_that_training_met(numeric_bundle: Bundle) -> None:
    document = json.loads(numeric_bundle.read(BASELINE))["features"]["mean radius"]
    bins = references(numeric_bundle).features["mean radius"]
    assert isinstance(bins, NumberBins)
    assert bins.edges.dtype == np.float32
    # Every edge is a value of the data, and its bin is the one that ends with it.
    assert bins.count(bins.edges).tolist() == [1] * len(document["edges"]) + [0, 0]


def test_each_label_is_a_bin_of_the_prediction(mixed_bundle: Bundle) -> None:
    prediction = references(mixed_bundle).prediction
    assert isinstance(prediction, CategoryBins)
    assert prediction.names == ("no", "yes", OTHER)


def changed(bundle: Bundle, directory: Path, change: Any) -> Bundle:
    def rewrite(path: Path) -> None:
        document = json.loads((path / BASELINE).read_text())
        (path / BASELINE).write_text(json.dumps(change(document)))

    return altered(bundle, directory, rewrite)


def test_many_categories_share_a_bin_so_that_the_index_of_chance_stays_small(
    mixed_bundle: Bundle, tmp_path: Path
) -> None:
    counts = {f"city {number}": number for number in range(1, 101)}

    def change(document: dict[str, Any]) -> dict[str, Any]:
        document["features"]["city"] = {"categories": counts, "missing": 3}
        return document

    bins = references(changed(mixed_bundle, tmp_path / "bundle", change)).features["city"]
    assert isinstance(bins, CategoryBins)
    assert bins.names == (*(f"city {number}" for number in range(81, 101)), OTHER)
    assert len(bins.names) == KEPT_CATEGORIES + 1
    assert bins.expected[-2:].tolist() == [sum(range(1, 81)), 3]
    assert bins.count(np.array(["city 81", "city 80", "Ulm", ""], object))[[0, -2, -1]].tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: {}, "features: Field required"),
        (lambda document: document | {"features": {}}, "it has no 'age'"),
        (lambda document: document | {"predictions": {}}, "it has no 'label'"),
        (
            lambda document: (
                document
                | {"features": document["features"] | {"age": {"edges": [2, 1], "counts": [1, 1, 1]}}}
            ),
            "edges do not rise",
        ),
        (
            lambda document: (
                document | {"features": document["features"] | {"age": {"edges": [1], "counts": [1]}}}
            ),
            "one count more than edges",
        ),
        (
            lambda document: (
                document | {"features": document["features"] | {"age": {"edges": [1], "counts": [0, 0]}}}
            ),
            "counts nothing",
        ),
        (
            lambda document: (
                document | {"features": document["features"] | {"age": {"categories": {"a": 1}}}}
            ),
            "categories where a FP32 has edges",
        ),
        (
            lambda document: (
                document | {"features": document["features"] | {"city": {"edges": [1], "counts": [1, 1]}}}
            ),
            "edges where a BYTES has categories",
        ),
        (
            lambda document: document | {"predictions": {"label": {"edges": [1], "counts": [1, 1]}}},
            "edges where a classifier has labels",
        ),
    ],
)
def test_a_baseline_that_is_none_is_refused_with_the_reason(
    change: Any, said: str, mixed_bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=said):
        references(changed(mixed_bundle, tmp_path / "bundle", change))

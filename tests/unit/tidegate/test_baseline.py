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

from tests.support.trained_bundles import altered
from tests.support.training import configuration
from tidegate.baseline import (
    MAX_CATEGORIES,
    OTHER,
    CategoryBins,
    Counts,
    NumericBins,
    TextBins,
    WeekdayBins,
    load_baseline,
    population_stability_index,
)
from tidegate.batch import Batch
from tidegate.bundle import BASELINE, Bundle
from tidegate.errors import BundleError
from tidegate_training.run import train


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Counts, Counts]:
    """Draw two counts over the same bins, each of at least one row."""
    counts = hnp.arrays(np.int64, draw(st.integers(1, 20)), elements=st.integers(0, 10_000)).filter(
        lambda array: array.any()
    )
    first = draw(counts)
    second = draw(hnp.arrays(np.int64, first.shape, elements=st.integers(0, 10_000)).filter(np.any))
    return first, second


@given(pairs())
def test_psi_is_symmetric_and_never_negative(pair: tuple[Counts, Counts]) -> None:
    index = population_stability_index(*pair)
    assert index >= 0
    assert index == pytest.approx(population_stability_index(*reversed(pair)))


@given(pairs(), st.integers(1, 100))
def test_psi_equal_proportions_is_zero(pair: tuple[Counts, Counts], times: int) -> None:
    assert population_stability_index(pair[0], pair[0] * times) == 0


@given(pairs())
def test_psi_other_proportions_is_above_zero(pair: tuple[Counts, Counts]) -> None:
    expected, observed = (counts / counts.sum() for counts in pair)
    different = float(np.abs(expected - observed).max()) > 0.001
    assert not different or population_stability_index(*pair) > 0


def test_psi_equals_its_formula() -> None:
    by_hand = (0.5 - 0.25) * np.log(0.5 / 0.25) + (0.5 - 0.75) * np.log(0.5 / 0.75)
    assert population_stability_index(np.array([1, 3]), np.array([50, 50])) == pytest.approx(by_hand)


def test_psi_of_one_population_is_about_its_expectation() -> None:
    rows = 1_000
    drawn = np.random.default_rng(7).multinomial(rows, [0.1] * 10, size=(400, 2))
    mean = np.mean([population_stability_index(first, second) for first, second in drawn])
    assert mean == pytest.approx(9 * (1 / rows + 1 / rows), rel=0.1)


NUMBERS = NumericBins(np.array([1.5, 2.5], np.float32), np.array([1, 1, 1, 1]))


def test_numeric_bins_edge_belongs_below_nan_is_missing() -> None:
    values = np.array([1.5, 1.6, 2.5, 2.6, 9.0, np.nan], np.float32)
    assert NUMBERS.count(values).tolist() == [1, 2, 2, 1]


def test_numeric_bins_count_integers() -> None:
    bins = NumericBins(np.array([0, 5]), np.array([1, 1, 1, 0]))
    assert bins.count(np.array([-1, 0, 3, 5, 6])).tolist() == [2, 2, 1, 0]


CATEGORIES = CategoryBins(("red", "blue", OTHER), {"": 3, "red": 0, "blue": 1}, np.array([1, 1, 0, 0]))


def test_category_bins_unknown_is_other_empty_is_missing() -> None:
    assert CATEGORIES.count(np.array(["blue", "green", "", "blue", "red"], object)).tolist() == [1, 2, 1, 1]


@given(st.lists(st.sampled_from(["red", "blue", "x" * 1000, ""])), st.integers(0, 5))
def test_category_bins_ignore_order_and_split_of_rows(rows: list[str], at: int) -> None:
    whole = CATEGORIES.count(np.array(rows, object))
    split = CATEGORIES.count(np.array(rows[at:], object)) + CATEGORIES.count(np.array(rows[:at], object))
    assert whole.tolist() == split.tolist()
    assert whole.sum() == len(rows)


@given(hnp.arrays(np.float32, st.integers(0, 50)), st.integers(0, 50))
def test_numeric_bins_count_every_number_once(values: Any, at: int) -> None:
    whole = NUMBERS.count(values)
    assert whole.sum() == len(values)
    assert whole.tolist() == (NUMBERS.count(values[at:]) + NUMBERS.count(values[:at])).tolist()


def test_weekday_bins_count_days_of_the_week() -> None:
    days = CategoryBins(
        ("monday", "thursday", OTHER), {"": 3, "monday": 0, "thursday": 1}, np.ones(4, np.int64)
    )
    texts = np.array(["2024-02-29T23:00-02:00", "2024-02-29", "2024-03-04", ""], dtype=object)
    assert WeekdayBins(days).count(texts).tolist() == [1, 1, 1, 1]


def test_text_bins_count_lengths_empty_is_missing() -> None:
    lengths = NumericBins(np.array([2.0, 5.0]), np.array([1, 1, 1, 0]))
    texts = np.array(["ab", "日本語", "abcdef", "", "a"], dtype=object)
    assert TextBins(lengths).count(texts).tolist() == [2, 1, 1, 1]


@pytest.mark.parametrize("kind", ["numeric", "mixed", "forest", "regression"])
def test_load_baseline_counts_training_rows(kind: str, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(f"{kind}_bundle")
    document, baseline = json.loads(bundle.read(BASELINE)), load_baseline(bundle)
    assert list(baseline.features) == list(bundle.contract.feature_names)
    for name, bins in baseline.features.items():
        assert bins.expected.sum() == document["rows"], name
        assert bins.expected[-1] == document["features"][name]["missing"]
    golden = Batch.from_rows(bundle.contract, bundle.contract.golden.rows)
    for index, (name, bins) in enumerate(baseline.features.items()):
        matrix = golden.arrays.get("input-0")
        values = golden.arrays[name] if matrix is None else matrix[:, index]
        assert bins.count(values).sum() == len(golden)


def test_load_baseline_edge_is_the_float32_of_training(numeric_bundle: Bundle) -> None:
    document = json.loads(numeric_bundle.read(BASELINE))["features"]["mean radius"]
    bins = load_baseline(numeric_bundle).features["mean radius"]
    assert isinstance(bins, NumericBins)
    assert bins.edges.dtype == np.float32
    # Every edge is a value of the training data, and belongs to the bin below.
    assert bins.count(bins.edges).tolist() == [1] * len(document["edges"]) + [0, 0]


def test_load_baseline_each_label_has_a_bin(mixed_bundle: Bundle) -> None:
    prediction = load_baseline(mixed_bundle).prediction
    assert isinstance(prediction, CategoryBins)
    assert prediction.names == ("no", "yes", OTHER)


def changed(bundle: Bundle, directory: Path, change: Any) -> Bundle:
    def rewrite(path: Path) -> None:
        document = json.loads((path / BASELINE).read_text())
        (path / BASELINE).write_text(json.dumps(change(document)))

    return altered(bundle, directory, rewrite)


def test_load_baseline_rare_categories_share_a_bin(mixed_bundle: Bundle, tmp_path: Path) -> None:
    counts = {f"city {number}": number for number in range(1, 101)}

    def change(document: dict[str, Any]) -> dict[str, Any]:
        document["features"]["city"] = {"categories": counts, "missing": 3}
        return document

    bins = load_baseline(changed(mixed_bundle, tmp_path / "bundle", change)).features["city"]
    assert isinstance(bins, CategoryBins)
    assert bins.names == (*(f"city {number}" for number in range(81, 101)), OTHER)
    assert len(bins.names) == MAX_CATEGORIES + 1
    assert bins.expected[-2:].tolist() == [sum(range(1, 81)), 3]
    assert bins.count(np.array(["city 81", "city 80", "Ulm", ""], object))[[0, -2, -1]].tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda document: {}, "features: Field required"),
        (lambda document: document | {"features": {}}, "'age' is missing"),
        (lambda document: document | {"predictions": {}}, "'label' is missing"),
        (
            lambda document: (
                document
                | {"features": document["features"] | {"age": {"edges": [2, 1], "counts": [1, 1, 1]}}}
            ),
            r"expected ascending edges, received \[2.*, 1.*\]",
        ),
        (
            lambda document: (
                document | {"features": document["features"] | {"age": {"edges": [1], "counts": [1]}}}
            ),
            "expected 2 counts, one more than edges, received 1",
        ),
        (
            lambda document: (
                document | {"features": document["features"] | {"age": {"edges": [1], "counts": [0, 0]}}}
            ),
            "at least one row",
        ),
        (
            lambda document: (
                document | {"features": document["features"] | {"age": {"categories": {"a": 1}}}}
            ),
            "expected edges for FP32, received categories",
        ),
        (
            lambda document: (
                document | {"features": document["features"] | {"city": {"edges": [1], "counts": [1, 1]}}}
            ),
            "expected categories for 'city', received edges",
        ),
        (
            lambda document: document | {"predictions": {"label": {"edges": [1], "counts": [1, 1]}}},
            "expected labels, received edges",
        ),
    ],
)
def test_load_baseline_invalid_document_raises(
    change: Any, reason: str, mixed_bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=rf"{BASELINE}.*{reason}.*Train the model again"):
        load_baseline(changed(mixed_bundle, tmp_path / "bundle", change))


def test_load_baseline_counts_texts_by_length_and_dates_by_day(tmp_path: Path) -> None:
    lines = [f"{'word ' * (row % 7 + 1)}x,2024-01-{row % 28 + 1:02},{row % 2}" for row in range(56)]
    (tmp_path / "data.csv").write_text("\n".join(["remark,day,y", *lines]) + "\n")
    overrides = {"remark": {"free_text": True}, "day": {"datatype": "date"}}
    config = configuration(data={"path": "data.csv"}, target="y", features={"overrides": overrides})
    bundle = train(config, tmp_path / "bundle", base_dir=tmp_path).bundle
    features = load_baseline(bundle).features
    texts = np.array(["", "x", "word " * 50], dtype=object)
    assert features["remark"].count(texts).tolist() == [
        1,
        *[0] * (len(features["remark"].expected) - 3),
        1,
        1,
    ]
    days = np.array(["2024-01-01", "2031-12-29", ""], dtype=object)
    counts = features["day"].count(days)
    assert (int(counts.sum()), int(counts.max()), int(counts[-1])) == (3, 2, 1)

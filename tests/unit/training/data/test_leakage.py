# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from tidegate.contract import Datatype
from tidegate_training.bundling.features import FeatureTable
from tidegate_training.data.leakage import find_leakage, names_rows, tells_target
from tidegate_training.data.split import Splits

N = 200
GENERATOR = np.random.default_rng(0)
NOISE = GENERATOR.normal(size=N)
CLASSES = np.where(GENERATOR.random(N) < 0.3, "yes", "no")
VALUES = GENERATOR.normal(size=N)
SPLITS = Splits(np.arange(120), np.arange(120, 160), np.arange(160, N))


@pytest.mark.parametrize(
    ("column", "target", "tells"),
    [
        (np.where(CLASSES == "yes", "Y", "N").astype(object), CLASSES, True),
        (np.where(CLASSES == "yes", 1, 0), CLASSES, True),
        (np.where(CLASSES == "yes", 5, -5) + NOISE, CLASSES, True),
        (np.where(CLASSES == "yes", 1, -1) + NOISE, CLASSES, False),
        (np.exp(VALUES), VALUES, True),
        (-VALUES, VALUES, True),
        (VALUES + 0.1 * NOISE, VALUES, False),
        (np.zeros(N), VALUES, False),
        (np.array([f"town {i}" for i in range(N)], dtype=object), CLASSES, False),
    ],
)
def test_tells_target_of_copies_and_functions(column: np.ndarray, target: np.ndarray, tells: bool) -> None:
    assert tells_target(column, target) is tells


def test_names_rows_of_identifiers_and_not_of_amounts() -> None:
    assert names_rows(np.arange(N) + 1000, Datatype.INT64)
    assert names_rows(np.array([f"id-{i}" for i in range(N)], dtype=object), Datatype.BYTES)
    assert not names_rows(np.arange(N) * 17, Datatype.INT64)
    assert not names_rows(NOISE, Datatype.FP64)
    assert not names_rows(CLASSES.astype(object), Datatype.BYTES)


def test_find_leakage_names_columns_rows_and_counts() -> None:
    noise = NOISE.copy()
    noise[[165, 170]] = noise[[3, 4]]
    classes = CLASSES.copy()
    classes[[165, 170]] = classes[[3, 4]]
    columns = {"noise": noise, "paid": np.where(classes == "yes", 1, 0)}
    features = FeatureTable(columns, {"noise": Datatype.FP64, "paid": Datatype.INT64})
    target, duplicates, times = find_leakage(
        features, classes, SPLITS, texts=[], unused_times={"day": "left out of the features"}
    )
    assert "'paid' alone determines the target" in target
    assert duplicates.startswith("2 of 40 test rows equal a training row, the first in row 166")
    assert "column 'day' has times (left out of the features): set split.time" in times


def test_find_leakage_of_clean_rows_is_empty() -> None:
    remarks = np.array([f"call {i}" for i in range(N)], dtype=object)
    features = FeatureTable(
        {"noise": NOISE, "remark": remarks}, {"noise": Datatype.FP64, "remark": Datatype.BYTES}
    )
    assert find_leakage(features, CLASSES, SPLITS, texts=["remark"], unused_times={}) == []

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from tidegate.contract import MATRIX, Datatype
from tidegate_training.bundling.features import FeatureTable

COLUMNS = {
    Datatype.FP32: np.array([1.0, np.nan, 3.0], dtype=np.float32),
    Datatype.INT64: np.array([1, 2, 3]),
    Datatype.BOOL: np.array([True, False, True]),
    Datatype.BYTES: np.array(["x", "", "z"], dtype=object),
}


def make_table(*datatypes: Datatype) -> FeatureTable:
    names = [f"{datatype}-{index}" for index, datatype in enumerate(datatypes)]
    return FeatureTable(
        {name: COLUMNS[datatype] for name, datatype in zip(names, datatypes, strict=True)},
        dict(zip(names, datatypes, strict=True)),
    )


@pytest.mark.parametrize(
    ("datatypes", "is_matrix"),
    [
        ((Datatype.FP32, Datatype.FP32), True),
        ((Datatype.BOOL,), True),
        ((Datatype.FP32, Datatype.INT64), False),
        ((Datatype.BYTES, Datatype.BYTES), False),
    ],
)
def test_feature_table_numbers_of_one_type_are_a_matrix(
    datatypes: tuple[Datatype, ...], is_matrix: bool
) -> None:
    table = make_table(*datatypes)
    batch = table.batch(np.array([2, 0]))
    assert table.is_matrix == is_matrix
    assert len(table) == 3
    assert len(batch) == 2
    assert set(batch.arrays) == ({MATRIX} if is_matrix else set(table.columns))


@pytest.mark.parametrize(
    ("datatype", "missing"),
    [
        (Datatype.FP32, [False, True, False]),
        (Datatype.INT64, [False, False, False]),
        (Datatype.BOOL, [False, False, False]),
        (Datatype.BYTES, [False, True, False]),
    ],
)
def test_feature_table_missing_is_nan_or_empty_text(datatype: Datatype, missing: list[bool]) -> None:
    table = make_table(datatype)
    assert table.missing(f"{datatype}-0").tolist() == missing

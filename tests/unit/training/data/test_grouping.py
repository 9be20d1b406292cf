# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from tidegate.errors import TidegateError
from tidegate_training.config import Data, GroupColumn
from tidegate_training.data.grouping import group_users, read_groupings
from tidegate_training.data.source import read_source
from tidegate_training.evaluation.breakdown import Grouping

CSV = "age,town,owner,height\n29,Bonn,true,1.5\n30,,false,1.6\n,Ulm,true,1.7\n"


def read(tmp_path: Path, *columns: GroupColumn) -> dict[str, Grouping]:
    (tmp_path / "rows.csv").write_text(CSV)
    return read_groupings(read_source(Data(path="rows.csv"), tmp_path), columns)


def test_read_groupings_by_edges_and_by_values(tmp_path: Path) -> None:
    groups = read(tmp_path, GroupColumn(column="age", edges=[30.0, 50.0]), GroupColumn(column="town"))
    names = {name: [g.names[code] for code in g.codes] for name, g in groups.items()}
    assert names == {"age": ["below 30", "30 to below 50", "missing"], "town": ["Bonn", "missing", "Ulm"]}


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (GroupColumn(column="street"), "no column 'street', expected one of age, town"),
        (GroupColumn(column="height"), r"3 different values of the kind 'float'.*set edges"),
        (GroupColumn(column="owner", edges=[1.0]), "has the text 'true' in row 1: expected a number"),
    ],
)
def test_read_groupings_of_other_columns_are_rejected(
    tmp_path: Path, column: GroupColumn, problem: str
) -> None:
    with pytest.raises(TidegateError, match=problem):
        read(tmp_path, column)


def test_group_users_counts_training_interactions() -> None:
    users = np.repeat(["ann", "ben"], [12, 3])
    grouping = group_users(users, np.r_[0:11, 12:14])
    assert {grouping.names[code] for code in grouping.codes[:12]} == {"10 to below 20"}
    assert {grouping.names[code] for code in grouping.codes[12:]} == {"below 5"}

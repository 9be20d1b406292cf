# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from tidegate.text_values import TextValueError
from tidegate.transformers import DatetimeDifference, DatetimeEncoder
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.bundling.persistence import to_skops

PARTS = ("year", "month", "day", "weekday", "hour")


@given(st.lists(st.datetimes(), min_size=1, max_size=5))
def test_datetime_encoder_parts_equal_those_of_python(times: list[datetime]) -> None:
    parts = DatetimeEncoder(PARTS).transform([[time.isoformat()] for time in times])
    expected = [[time.year, time.month, time.day, time.weekday(), time.hour] for time in times]
    assert parts.tolist() == expected


@given(st.datetimes(), st.datetimes())
def test_datetime_difference_is_in_days(later: datetime, earlier: datetime) -> None:
    (difference,) = DatetimeDifference().transform([[later.isoformat(), earlier.isoformat()]])
    assert difference[0] == pytest.approx((later - earlier).total_seconds() / 86_400, abs=1e-9)


def test_datetime_encoder_columns_have_their_parts_in_order() -> None:
    frame = pd.DataFrame({"a": ["2024-02-29", ""], "b": ["2023-12-31T23:30-01:00", "1969-12-31"]})
    parts = DatetimeEncoder(("day", "hour"), np.float32).transform(frame)
    assert parts.dtype == np.float32
    assert parts[0].tolist() == [29, 0, 1, 0]
    assert np.isnan(parts[1, :2]).all()
    assert parts[1, 2:].tolist() == [31, 0]


def test_datetime_encoder_text_that_is_not_iso_8601_is_an_error() -> None:
    with pytest.raises(TextValueError) as caught:
        DatetimeEncoder().transform([[""], ["29.02.2024"]])
    assert caught.value.index == 1


def test_datetime_difference_of_a_missing_date_is_missing() -> None:
    differences = DatetimeDifference().transform([["2024-03-01", "2024-02-28"], ["", "2024-02-28"]])
    assert differences[0].tolist() == [2]
    assert np.isnan(differences[1, 0])


def test_transformers_are_built_under_the_default_policy() -> None:
    texts = [["2024-02-29"], ["2024-03-01"], ["2025-01-01"]]
    pipeline = make_pipeline(clone(DatetimeEncoder(("month", "day"), np.float32)), LinearRegression())
    pipeline.fit(texts, [1.0, 2.0, 3.0])
    built = build_pipeline(to_skops(pipeline), Policy())
    assert built.predict(texts).tolist() == pipeline.predict(texts).tolist()
    difference = build_pipeline(to_skops(DatetimeDifference()), Policy())
    assert difference.transform([["2024-03-01", "2024-02-29"]]).tolist() == [[1]]

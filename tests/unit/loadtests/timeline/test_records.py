# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.errors import TidegateError
from tidegate_loadtests.timeline.records import EventRecord, Gap, PodRecord, ReplicaRecord, Timeline

SECONDS = st.floats(-1e6, 1e6)
COUNTS = st.integers(0, 10_000)
TEXTS = st.text(max_size=20)
TIMELINES = st.builds(
    Timeline,
    started_at=st.floats(0, 4e9),
    replicas=st.lists(
        st.builds(
            ReplicaRecord,
            SECONDS,
            COUNTS,
            COUNTS,
            COUNTS,
            st.none() | COUNTS,
            st.none() | COUNTS,
            st.none() | SECONDS,
        ),
        max_size=4,
    ),
    pods=st.lists(st.builds(PodRecord, SECONDS, TEXTS, TEXTS, *4 * [st.booleans()]), max_size=4),
    events=st.lists(st.builds(EventRecord, SECONDS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, COUNTS), max_size=4),
    gaps=st.lists(st.builds(Gap, TEXTS, SECONDS, SECONDS, TEXTS), max_size=4),
)


@settings(max_examples=25)
@given(TIMELINES)
def test_timeline_written_and_read_is_equal(
    tmp_path_factory: pytest.TempPathFactory, timeline: Timeline
) -> None:
    path = tmp_path_factory.mktemp("timeline") / "timeline.parquet"
    timeline.write(path)
    assert Timeline.read(path) == timeline


def test_read_without_a_file_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match=r"absent\.parquet is not a complete file of a timeline"):
        Timeline.read(tmp_path / "absent.parquet")


def test_read_of_another_table_names_both_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"width": [1.0]}), tmp_path / "rows.parquet")
    with pytest.raises(
        TidegateError, match=r"expected the columns replicas, pod, event, gap .* received width"
    ):
        Timeline.read(tmp_path / "rows.parquet")

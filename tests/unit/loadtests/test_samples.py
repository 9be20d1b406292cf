# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.loadtests.test_summary import make_samples
from tidegate.errors import TidegateError
from tidegate_loadtests.samples import SampleCounter, Samples, SampleWriter

TIMES = st.floats(-100, 100_000)


def write_sample(writer: SampleWriter, error: str | None = None) -> None:
    writer.write(
        intended_start=0,
        connection_free=0,
        sent=0,
        completed=0,
        status=200,
        protocol="v1",
        rows=1,
        error=error,
    )


def one_line(error: str | None) -> str:
    return "" if error is None else " ".join(error.split()) or "failed"


@settings(deadline=None)  # it writes a file
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "intended_start": TIMES,
                "connection_free": TIMES,
                "sent": TIMES,
                "completed": TIMES,
                "status": st.integers(0, 599),
                "protocol": st.sampled_from(["v1", "v2", "v2-binary"]),
                "rows": st.integers(1, 1000),
                # numpy removes trailing zero characters of a text
                "error": st.none()
                | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
            }
        ),
        max_size=8,
    )
)
def test_samples_written_are_read_back(tmp_path_factory: pytest.TempPathFactory, lines: list[dict]) -> None:
    path = tmp_path_factory.mktemp("samples") / "samples.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = SampleWriter(file)
        writer.write_header()
        for line in lines:
            writer.write(**line)
    samples = Samples.read(path)
    assert len(samples) == len(lines)
    assert samples.status.tolist() == [line["status"] for line in lines]
    assert samples.protocol.tolist() == [line["protocol"] for line in lines]
    assert samples.error.tolist() == [one_line(line["error"]) for line in lines]
    for name in ("intended_start", "connection_free", "sent", "completed"):
        assert getattr(samples, name) == pytest.approx(np.array([line[name] for line in lines]), abs=1e-6)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not enough values"),
        ("a,b\n1,2\n", "expected the columns intended_start,.*, received a,b"),
        (None, "No such file"),
    ],
)
def test_samples_of_another_file_are_rejected(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "samples.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TidegateError, match=rf"samples\.csv is not a file of samples: .*{reason}"):
        Samples.read(path)


def test_samples_with_an_incomplete_line_are_rejected(tmp_path: Path) -> None:
    file = io.StringIO()
    writer = SampleWriter(file)
    writer.write_header()
    write_sample(writer)
    path = tmp_path / "samples.csv"
    path.write_text(file.getvalue()[:-12])
    with pytest.raises(TidegateError, match="not a file of samples: line 2: expected 8 columns, received 4"):
        Samples.read(path)


def test_send_delay_excludes_schedule_and_busy_connection() -> None:
    samples = make_samples([1.0] * 4, sent=[1.030] * 4, connection_free=[0.5, 1.0, 1.010, 1.030])
    assert samples.send_delay_ms == pytest.approx([30, 30, 20, 0])


def test_sample_counter_counts_complete_lines(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    counter = SampleCounter(path)
    assert counter.read() == (0, 0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = SampleWriter(file)
        writer.write_header()
        file.flush()
        assert counter.read() == (0, 0)
        write_sample(writer)
        write_sample(writer, error="no response")
        file.write("3.0,")
        file.flush()
        assert counter.read() == (2, 1)
        file.write("3.0,3.0,3.0,200,v1,1,\n")
        file.flush()
        assert counter.read() == (3, 1)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_loadtests.samples import Samples, SampleWriter

from tidegate.errors import TidegateError

TIMES = st.floats(-100, 100_000)


def one_line(error: str | None) -> str:
    return "" if error is None else " ".join(error.split()) or "failed"


@settings(deadline=None)  # it writes a file
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "intended": TIMES,
                "free": TIMES,
                "start": TIMES,
                "end": TIMES,
                "status": st.integers(0, 599),
                "protocol": st.sampled_from(["v1", "v2", "v2-binary"]),
                "rows": st.integers(1, 1000),
                # numpy drops a text's last zero characters
                "error": st.none()
                | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
            }
        ),
        max_size=8,
    )
)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, lines: list[dict]) -> None:
    path = tmp_path_factory.mktemp("samples") / "samples.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = SampleWriter(file)
        writer.header()
        for line in lines:
            writer.write(**line)
    samples = Samples.read(path)
    assert len(samples) == len(lines)
    assert samples.status.tolist() == [line["status"] for line in lines]
    assert samples.protocol.tolist() == [line["protocol"] for line in lines]
    assert samples.error.tolist() == [one_line(line["error"]) for line in lines]
    for name in ("intended", "free", "start", "end"):
        assert getattr(samples, name) == pytest.approx(np.array([line[name] for line in lines]), abs=1e-6)


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", None])
def test_what_is_no_record_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "samples.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TidegateError, match="is no record of samples"):
        Samples.read(path)


def test_a_record_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = io.StringIO()
    writer = SampleWriter(file)
    writer.header()
    writer.write(intended=0, free=0, start=0, end=0, status=200, protocol="v1", rows=1, error=None)
    path = tmp_path / "samples.csv"
    path.write_text(file.getvalue()[:-12])
    with pytest.raises(TidegateError, match="is no record of samples"):
        Samples.read(path)

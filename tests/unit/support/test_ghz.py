# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import wrk
from tests.support import ghz
from tidegate.errors import ServerError

GHZ = {
    "count": 2400,
    "average": 6_600_000,
    "rps": 1200.5,
    "errorDistribution": {"rpc error: code = Unavailable": 4},
    "statusCodeDistribution": {"OK": 2396, "Unavailable": 4},
    "latencyDistribution": [
        {"percentage": 50, "latency": 6_500_000},
        {"percentage": 99, "latency": 17_250_000},
    ],
}


def test_ghz_parse_converts_nanoseconds_to_milliseconds() -> None:
    assert ghz.parse(json.dumps(GHZ)) == wrk.Summary(2400, 4, 0, 1200.5, 6.5, 17.25)


@pytest.mark.parametrize(
    "change", [{"latencyDistribution": None}, {"statusCodeDistribution": None}, {"rps": None}]
)
def test_ghz_parse_without_success_raises_or_counts_errors(change: dict[str, None]) -> None:
    try:
        report = ghz.parse(json.dumps(GHZ | change))
    except ServerError:
        return
    assert report.error_responses == report.responses


@given(st.text())
def test_ghz_parse_other_output_raises_server_error(output: str) -> None:
    with pytest.raises(ServerError, match="ghz printed no report"):
        ghz.parse(output)


def test_ghz_protoset_describes_the_method(tmp_path: Path) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    ghz.write_protoset(tmp_path / "protoset")
    (file,) = FileDescriptorSet.FromString((tmp_path / "protoset").read_bytes()).file
    names = [f"{file.package}.{service.name}.{m.name}" for service in file.service for m in service.method]
    assert ghz.METHOD in names

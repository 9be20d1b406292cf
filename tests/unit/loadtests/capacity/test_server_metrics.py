# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from tidegate.errors import ServerError
from tidegate_loadtests.capacity.server_metrics import ServerMetrics

PAGE = """\
# HELP tidegate_model_info The served model in the labels. The value is 1.
tidegate_model_info{digest="abc",engine="onnx",model_name="a \\"b\\"",task="classification"} 1.0
tidegate_request_duration_seconds_bucket{le="0.1",protocol="v1"} 7.0
tidegate_request_duration_seconds_sum{protocol="v1"} 1.5
tidegate_request_duration_seconds_sum{protocol="v2"} 0.5
tidegate_batch_size_rows_count 10.0
tidegate_batch_size_rows_sum 1e+02
tidegate_queue_depth_rows 0.0
process_cpu_seconds_total 3.25
process_resident_memory_bytes 2.0e+08
"""


def test_metrics_are_summed_over_protocols() -> None:
    assert ServerMetrics.parse(PAGE) == ServerMetrics("abc", "onnx", 2.0, 10, 100, 0, 3.25, 2e8)


@pytest.mark.parametrize(
    "name", ["tidegate_model_info", "process_cpu_seconds_total", "tidegate_batch_size_rows_sum"]
)
def test_metrics_of_another_server_are_rejected(name: str) -> None:
    page = "\n".join(line for line in PAGE.splitlines() if not line.startswith(name))
    with pytest.raises(ServerError, match=f"'{name}' is missing: expected 'tidegate serve'"):
        ServerMetrics.parse(page)

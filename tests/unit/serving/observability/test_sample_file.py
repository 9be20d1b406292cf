# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io
import sys
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from tidegate.contract import Datatype
from tidegate.errors import ConfigurationError
from tidegate_serving.observability.sample_file import SampledRows, encode_parquet, require_parquet

VALUES: dict[Datatype, list[Any]] = {
    Datatype.BOOL: [True, False, True],
    Datatype.INT32: [1, -(2**31), 3],
    Datatype.INT64: [1, 2**53 + 1, 3],
    Datatype.FP32: [0.5, 0.25, 1.0],
    Datatype.FP64: [0.1, 1e300, 2.0],
    Datatype.BYTES: ["", "é\x00", "z"],
}


def test_file_has_ids_times_digest_and_values_of_each_type() -> None:
    arrays = {kind.value: np.array(values, kind.dtype) for kind, values in VALUES.items()}
    requests = [
        SampledRows("r-1", 1.5, 1, {name: array[:1] for name, array in arrays.items()}),
        SampledRows("r-2", 86_400, 2, {name: array[1:] for name, array in arrays.items()}),
    ]
    content = encode_parquet(requests, {kind.value: kind for kind in VALUES}, "17c3")
    table = parquet.read_table(io.BytesIO(content)).to_pydict()
    assert table.pop("id") == ["r-1", "r-2/0", "r-2/1"]
    assert table.pop("time") == [
        datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC),
        datetime(1970, 1, 2, tzinfo=UTC),
        datetime(1970, 1, 2, tzinfo=UTC),
    ]
    assert table.pop("digest") == ["17c3"] * 3
    assert table == {kind.value: values for kind, values in VALUES.items()}


def test_size_covers_arrays_and_texts() -> None:
    numbers = {"a": np.zeros(3, np.float32)}
    assert SampledRows("r", 0, 3, numbers).n_bytes == 12
    texts = {"t": np.array(["x" * 1_000] * 3, object)}
    assert SampledRows("r", 0, 3, texts).n_bytes == 3_000 + 3 * 8


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arro3.io", None)
    with pytest.raises(ConfigurationError, match=r"not installed; install tidegate\[sample\]"):
        require_parquet()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from itertools import count
from pathlib import Path

import pytest

from benchmarks import stages
from benchmarks.case import Protocol
from benchmarks.models import Model
from benchmarks.stages import STAGES, StageCase, measure
from tidegate.bundle import Bundle


def test_measure_has_the_time_per_request_of_each_stage(
    numeric_bundle: Bundle, mixed_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [StageCase("mixed", protocol, 2, 64, 4) for protocol in (Protocol.V1, Protocol.V2)]
    cases += [StageCase("numeric", Protocol.GRPC, 2, 64, 4), StageCase("other", Protocol.V1, 1, 64, 1)]
    monkeypatch.setattr(stages, "CASES", cases)
    models = {"numeric": Model(numeric_bundle, Path()), "mixed": Model(mixed_bundle, Path())}
    readings = count()

    rows = measure(models, lambda: float(next(readings)))

    assert [(row["model"], row["protocol"], row["rows"]) for row in rows] == [
        ("mixed", "v1", 2),
        ("mixed", "v2", 2),
        ("numeric", "grpc", 2),
    ]
    assert all(row["us"] == dict.fromkeys(STAGES, 1e6 / 4) for row in rows)

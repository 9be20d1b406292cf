# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from benchmarks.measurement import inconclusive_reason


@pytest.mark.parametrize(
    ("generator_cpu", "failed", "may_saturate", "reason"),
    [
        (0.9, 0, False, None),
        (0.91, 0, False, "the generator used 91% of its core"),
        (1.0, 0, True, None),
        (0.5, 12, False, "12 requests failed or had no response"),
        (0.5, 1, True, "1 requests failed or had no response"),
    ],
)
def test_inconclusive_reason_names_generator_or_failures(
    generator_cpu: float, failed: int, may_saturate: bool, reason: str | None
) -> None:
    figures = {"generator_cpu": generator_cpu}
    assert inconclusive_reason(figures, failed=failed, may_saturate=may_saturate) == reason

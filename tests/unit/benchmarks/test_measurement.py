# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from benchmarks.measurement import inconclusive_reason


@pytest.mark.parametrize(
    ("figures", "failed", "may_saturate", "may_fail", "reason"),
    [
        ({"generator_cpu": 0.9}, 0, False, False, None),
        ({"generator_cpu": 0.91}, 0, False, False, "the generator used 91% of its core"),
        ({"generator_cpu": 1.0}, 0, True, False, None),
        ({"generator_cpu": 0.5}, 12, False, False, "12 requests failed or had no response"),
        ({"generator_cpu": 0.5}, 1, True, False, "1 requests failed or had no response"),
        ({"generator_cpu": 0.5}, 12, False, True, None),
        ({"generator_cpu": 0.5, "send_delay_ms": 5.0}, 0, False, False, None),
        (
            {"generator_cpu": 0.5, "send_delay_ms": 7.0},
            0,
            False,
            True,
            "the generator was 7 ms behind its schedule",
        ),
        ({"generator_cpu": 0.95}, 12, False, True, "the generator used 95% of its core"),
    ],
)
def test_inconclusive_reason_names_generator_or_failures(
    figures, failed, may_saturate, may_fail, reason
) -> None:
    assert inconclusive_reason(figures, failed=failed, may_saturate=may_saturate, may_fail=may_fail) == reason

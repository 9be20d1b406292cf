# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from benchmarks.measure import void_reason


@pytest.mark.parametrize(
    ("figures", "wrong", "may_saturate", "may_fail", "reason"),
    [
        ({"generator_cpu": 0.9}, 0, False, False, None),
        ({"generator_cpu": 0.91}, 0, False, False, "the generator used 91% of its core"),
        ({"generator_cpu": 1.0}, 0, True, False, None),
        ({"generator_cpu": 0.5}, 12, False, False, "12 answers were errors, or never came"),
        ({"generator_cpu": 0.5}, 1, True, False, "1 answers were errors, or never came"),
        ({"generator_cpu": 0.5}, 12, False, True, None),
        ({"generator_cpu": 0.5, "lag_ms": 5.0}, 0, False, False, None),
        ({"generator_cpu": 0.5, "lag_ms": 7.0}, 0, False, True, "the generator was 7 ms behind its schedule"),
        ({"generator_cpu": 0.95}, 12, False, True, "the generator used 95% of its core"),
    ],
)
def test_figures_are_void_when_the_generator_or_the_answers_were_not_as_they_should_be(
    figures, wrong, may_saturate, may_fail, reason
) -> None:
    assert void_reason(figures, wrong=wrong, may_saturate=may_saturate, may_fail=may_fail) == reason

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from tidegate.errors import TidegateError
from tidegate_loadtests.capacity.fit import Calls, fit_service_time

SINGLE = np.full(100, 0.001)


def make_calls(
    calls: float, rows: float, call: float = 0.002, row: float = 0.0005, noise: float = 1.0
) -> Calls:
    return Calls(calls, rows, (call * calls + row * rows) * noise)


def test_service_time_is_the_line_through_windows() -> None:
    windows = [make_calls(1000, 1100), make_calls(800, 4000), make_calls(500, 20_000)]
    fitted = fit_service_time(windows, SINGLE)
    assert (fitted.call_seconds, fitted.row_seconds) == pytest.approx((0.002, 0.0005))


def test_service_time_weighs_windows_by_their_calls() -> None:
    outlier = make_calls(1, 20, noise=2)
    windows = [make_calls(1000, 1100), make_calls(800, 4000), outlier]
    fitted = fit_service_time(windows, SINGLE)
    assert (fitted.call_seconds, fitted.row_seconds) == pytest.approx((0.002, 0.0005), rel=0.1)
    frequent = fit_service_time([*windows[:2], make_calls(1000, 20_000, noise=2)], SINGLE)
    assert frequent.row_seconds > 1.5 * fitted.row_seconds


@pytest.mark.parametrize("seed", range(5))
def test_service_time_of_noisy_windows_is_close(seed: int) -> None:
    source = np.random.default_rng(seed)
    windows = [
        make_calls(1000, 1000 * batch, noise=np.exp(0.02 * source.standard_normal()))
        for batch in (1.1, 1.3, 2, 4, 8, 10, 12)
    ]
    fitted = fit_service_time(windows, SINGLE)
    assert fitted.call_seconds == pytest.approx(0.002, rel=0.15)
    assert fitted.row_seconds == pytest.approx(0.0005, rel=0.15)


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([Calls(10, 10, 0.02), Calls(10, 100, 0.01)], (0.0015, 0)),  # a longer call for fewer rows
        ([Calls(10, 20, 0.01), Calls(10, 40, 0.04)], (0, 0.0009)),  # no time is left for the call itself
        ([Calls(10, 10, 0.02), Calls(20, 20, 0.04)], (0.002, 0)),  # all batches are equal
        ([Calls(0, 0, 0.1), Calls(10, 10, 0.02)], (0.002, 0)),
    ],
)
def test_service_time_has_no_negative_part(windows: list[Calls], expected: tuple[float, float]) -> None:
    fitted = fit_service_time(windows, SINGLE)
    assert (fitted.call_seconds, fitted.row_seconds) == pytest.approx(expected)


def test_service_time_without_engine_calls_is_an_error() -> None:
    with pytest.raises(TidegateError, match="counted no engine call"):
        fit_service_time([Calls(0, 0, 0.1)], SINGLE)


def test_jitter_is_the_spread_without_outliers() -> None:
    seconds = 0.001 * np.exp(0.3 * np.random.default_rng(1).standard_normal(2000))
    seconds[:20] = 5.0
    windows = [make_calls(10, 10)]
    assert fit_service_time(windows, seconds).jitter == pytest.approx(0.3, rel=0.05)
    assert fit_service_time(windows, SINGLE).jitter == 0

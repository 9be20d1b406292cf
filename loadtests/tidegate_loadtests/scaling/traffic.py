# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Traffic: the rate of requests in each second, from a campaign, a table of rates or recorded arrivals."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import ConfigurationError
from tidegate.settings import load_yaml
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.traces import TIME_COLUMN, Trace, read_columns

Floats = NDArray[np.float64]

SECOND_COLUMN = "second"
RATE_COLUMN = "rate"
MAX_SECONDS = 31 * 86_400
"""The longest traffic: a month."""


def read_traffic(path: Path) -> Floats:
    """Read the rate of each second, ``[seconds]``.

    A ``.yaml`` file is a campaign. A ``.csv`` or ``.parquet`` file has the columns ``second`` and ``rate``,
    or the column ``time_seconds`` with one arrival per line.

    Raises:
        ConfigurationError: If the file cannot be read, or has no such content.
    """
    if path.suffix in (".yaml", ".yml"):
        return campaign_rates(load_yaml(path, Campaign), path)
    try:
        columns = read_columns(path, (SECOND_COLUMN, RATE_COLUMN, TIME_COLUMN))
        if TIME_COLUMN in columns:
            return arrival_rates(Trace.read(path).time)
        if set(columns) != {SECOND_COLUMN, RATE_COLUMN}:
            raise ValueError(
                f"{path}: expected the columns '{SECOND_COLUMN}' and '{RATE_COLUMN}', or the column "
                f"'{TIME_COLUMN}', received {', '.join(columns) or 'none of them'}"
            )
        numbers = [np.asarray(columns[name].to_numpy(zero_copy_only=False)) for name in columns]
        if any(column.dtype.kind not in "if" for column in numbers):
            raise ValueError(
                f"{path}: expected a number in every line of '{SECOND_COLUMN}' and '{RATE_COLUMN}'"
            )
        return table_rates(numbers[0].astype(float), numbers[1].astype(float))
    except ValueError as error:
        message = str(error)
        place = "" if message.startswith(str(path)) else f"{path}: "
        raise ConfigurationError(f"{place}{message}.") from None


def campaign_rates(campaign: Campaign, path: Path) -> Floats:
    """Return the intended rates of a campaign, ``[seconds]``.

    Raises:
        ConfigurationError: If a phase is a closed loop, whose rate the server decides.
    """
    seconds = _count(campaign.duration_seconds)
    rates = [campaign.rate_at(second + 0.5) for second in range(seconds)]
    if None in rates:
        phase = campaign.phase_at(rates.index(None) + 0.5).name
        raise ConfigurationError(
            f"{path}: phase '{phase}' is a closed loop, whose rate the server decides: expected phases with "
            "a rate, such as 'model: steps'."
        )
    return np.array(rates, dtype=float)


def table_rates(second: Floats, rate: Floats) -> Floats:
    """Return the rate of each second; a rate holds until the next line, the last as long as the one before.

    >>> table_rates(np.array([0.0, 2.0]), np.array([10.0, 40.0])).tolist()
    [10.0, 10.0, 40.0, 40.0]

    Args:
        second: Ascending times, the first of which is the start, ``[lines]``.
        rate: Requests per second, ``[lines]``.

    Returns:
        The rates, ``[seconds]``.

    Raises:
        ValueError: If the times do not ascend, a rate is negative, or there are fewer than two lines.
    """
    if len(second) < 2:
        raise ValueError(f"expected at least two lines, received {len(second)}")
    if not (np.isfinite(second).all() and (np.diff(second) > 0).all()):
        raise ValueError(f"expected ascending numbers in '{SECOND_COLUMN}'")
    if not (np.isfinite(rate).all() and (rate >= 0).all()):
        raise ValueError(f"expected numbers of at least 0 in '{RATE_COLUMN}'")
    time = second - second[0]
    seconds = np.arange(_count(2 * time[-1] - time[-2]))
    return np.asarray(rate[np.searchsorted(time, seconds, side="right") - 1])


def arrival_rates(arrivals: Floats) -> Floats:
    """Return the number of arrivals in each second.

    >>> arrival_rates(np.array([0.1, 0.9, 2.5])).tolist()
    [2.0, 0.0, 1.0]

    Args:
        arrivals: Seconds from the start, ``[requests]``.

    Returns:
        Requests per second, ``[seconds]``.
    """
    seconds = _count(float(arrivals.max()) + 1e-9)
    return np.bincount(arrivals.astype(int), minlength=seconds).astype(float)


def _count(duration: float) -> int:
    seconds = int(np.ceil(duration))
    if seconds > MAX_SECONDS:
        raise ConfigurationError(
            f"The traffic lasts {seconds:,} s: expected at most {MAX_SECONDS:,} s, a month; shorten it."
        )
    return seconds

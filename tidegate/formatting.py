# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Formatting: metrics as text, the same in error messages, tables and reports."""


def format_number(value: float | None) -> str:
    """Format a number with three significant digits, or with all digits before the point.

    >>> format_number(1234.5), format_number(1.2345), format_number(0.0), format_number(None)
    ('1,234', '1.23', '0', '—')
    """
    if value is None:
        return "—"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def format_percent(ratio: float | None) -> str:
    """Format a ratio as a percentage with two significant digits.

    >>> format_percent(0.0), format_percent(0.9312), format_percent(0.00012), format_percent(1.3)
    ('0 %', '93 %', '0.012 %', '130 %')
    """
    if ratio is None:
        return "—"
    return f"{ratio * 100:.0f} %" if ratio >= 0.1 else f"{ratio * 100:.2g} %"


def format_milliseconds(value: float | None) -> str:
    """Format a latency.

    >>> format_milliseconds(12.34)
    '12.3 ms'
    """
    return f"{format_number(value)} ms"


def format_rate(value: float | None) -> str:
    """Format a number of requests or responses per second.

    >>> format_rate(512.4)
    '512 /s'
    """
    return f"{format_number(value)} /s"


def format_seconds(value: float | None) -> str:
    """Format a duration, or a time from the start of the campaign.

    >>> format_seconds(12.34), format_seconds(7200)
    ('12.3 s', '7,200 s')
    """
    return f"{format_number(value)} s"

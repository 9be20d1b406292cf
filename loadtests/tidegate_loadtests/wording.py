# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Wording: how figures are written for people, the same in sentences, tables and the report."""


def figure(value: float | None) -> str:
    """A number with three significant digits, or all before the point; an em dash for none.

    >>> figure(1234.5), figure(1.2345), figure(0.0), figure(None)
    ('1,234', '1.23', '0', '—')
    """
    if value is None:
        return "—"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def share(value: float | None) -> str:
    """A ratio as a percentage with two significant digits; an em dash for none.

    >>> share(0.0), share(0.9312), share(0.00012), share(1.3)
    ('0 %', '93 %', '0.012 %', '130 %')
    """
    if value is None:
        return "—"
    return f"{value * 100:.0f} %" if value >= 0.1 else f"{value * 100:.2g} %"


def milliseconds(value: float | None) -> str:
    """A latency.

    >>> milliseconds(12.34)
    '12.3 ms'
    """
    return f"{figure(value)} ms"


def per_second(value: float | None) -> str:
    """A rate.

    >>> per_second(512.4)
    '512 /s'
    """
    return f"{figure(value)} /s"

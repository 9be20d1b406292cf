# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Deadlines: how long a client will wait for its answer, as it or the proxy before us says.

An answer that comes later only costs others their time. This module reads; who computes decides.
"""

from tidegate_serving.errors import RequestError

OURS = "x-request-timeout-ms"
"""A client's own header: milliseconds from the moment in which the request arrives."""

ENVOY = "x-envoy-expected-rq-timeout-ms"
"""Envoy's header: how long it will wait for us, in milliseconds."""

_DIGITS = 9


def seconds(ours: str | None, envoy: str | None) -> float | None:
    """The time that a request has, in seconds from its arrival; None if nobody said.

    Args:
        ours: The value of ``x-request-timeout-ms``.
        envoy: The value of ``x-envoy-expected-rq-timeout-ms``. No client writes it, so one that says nothing
            sensible is not the client's mistake, and 0 stands for no limit.

    Raises:
        RequestError: Ours is not a number of milliseconds.
    """
    limits = []
    if ours is not None:
        if not _is_number(ours):
            raise RequestError(
                f"{OURS}: expected a whole number of milliseconds of at most {_DIGITS} digits, received "
                f"'{ours:.60}'."
            )
        limits.append(int(ours) / 1000)
    if envoy is not None and _is_number(envoy) and int(envoy):
        limits.append(int(envoy) / 1000)
    return min(limits, default=None)


def _is_number(text: str) -> bool:
    # isdecimal alone would take other scripts' digits.
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS

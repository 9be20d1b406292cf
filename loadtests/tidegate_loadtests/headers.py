# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The headers of requests, whose values may name environment variables, for example a token.

Each process that sends requests resolves the headers in its own environment. No secret is therefore in a
file, in an argument or in a message between master and workers.
"""

import re
from collections.abc import Mapping

from tidegate.errors import FieldError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def resolve_headers(headers: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Replace each ``${NAME}`` by the environment variable.

    >>> resolve_headers({"Authorization": "Bearer ${TOKEN}"}, {"TOKEN": "abc"})
    {'Authorization': 'Bearer abc'}

    Raises:
        FieldError: If a variable is not set, or has a line break.
    """
    return {name: _resolve(name, value, environment) for name, value in headers.items()}


def _resolve(header: str, text: str, environment: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        value = environment.get(name, "")
        if not value:
            raise FieldError(
                ("target", "headers", header),
                f"the environment variable '{name}' is not set: set it for every process that sends requests",
            )
        if "\n" in value or "\r" in value:
            raise FieldError(
                ("target", "headers", header),
                f"the environment variable '{name}' has a line break: remove it",
            )
        return value

    return _VARIABLE.sub(value_of, text)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from tidegate.errors import FieldError
from tidegate_loadtests.headers import resolve_headers


def test_headers_take_values_from_the_environment() -> None:
    headers = {"Host": "a.example", "X-Both": "${A}-${B}", "X-Literal": "$A {A}"}
    resolved = resolve_headers(headers, {"A": "1", "B": "${A}"})
    assert resolved == {"Host": "a.example", "X-Both": "1-${A}", "X-Literal": "$A {A}"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "is not set"), ({"TOKEN": ""}, "is not set"), ({"TOKEN": "a\nb: secret"}, "has a line break")],
)
def test_variable_that_makes_no_header_is_rejected(environment: dict[str, str], expected: str) -> None:
    with pytest.raises(FieldError) as error:
        resolve_headers({"Authorization": "${TOKEN}"}, environment)
    for text in ("'target.headers.Authorization'", "'TOKEN'", expected):
        assert text in str(error.value)
    assert "secret" not in str(error.value)

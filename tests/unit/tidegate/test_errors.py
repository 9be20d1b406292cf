# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pickle

import pytest
from pydantic import BaseModel, ValidationError

from tidegate.errors import (
    BundleError,
    ConfigurationError,
    DataError,
    ExitCode,
    FieldError,
    GateNotPassedError,
    NotFoundError,
    ServerError,
    StoreError,
    TidegateError,
    first_problem,
)


class Point(BaseModel):
    x: int
    tags: list[str] = []


@pytest.mark.parametrize("error", [TidegateError, StoreError, ServerError])
def test_exit_code_of_an_error_worth_a_retry_is_1(error):
    assert error.exit_code == 1


@pytest.mark.parametrize("error", [ConfigurationError, FieldError, DataError, BundleError, NotFoundError])
def test_exit_code_of_an_error_in_the_input_is_2(error):
    assert error.exit_code == 2


def test_exit_codes_of_a_gate_and_of_sigterm():
    assert GateNotPassedError.exit_code == 3
    assert ExitCode.TERMINATED == 128 + 15


def test_field_error_message_has_the_path_and_the_problem():
    error = FieldError(("steps", 0, "rate"), "expected at least 1, received 0")
    assert str(error) == "field 'steps.0.rate': expected at least 1, received 0."
    assert isinstance(error, ValueError)


def test_field_error_is_the_same_in_another_process():
    copy = pickle.loads(pickle.dumps(FieldError(("steps", 0), "expected at least 1")))
    assert (str(copy), copy.location) == ("field 'steps.0': expected at least 1.", ("steps", 0))


@pytest.mark.parametrize(
    ("document", "start"), [({"x": "a"}, "x: "), ({"x": 1, "tags": [1]}, "tags.0: "), ([], "document: ")]
)
def test_first_problem_begins_with_the_field(document, start):
    with pytest.raises(ValidationError) as raised:
        Point.model_validate(document)
    assert first_problem(raised.value).startswith(start)

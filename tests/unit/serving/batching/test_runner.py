# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import logging
import weakref
from collections.abc import Mapping, Sequence

import pytest

from tests.support.fakes import FakeEngine, label_values, matrix_batch
from tidegate.batch import Array, Batch
from tidegate.contract import MATRIX
from tidegate_serving.batching.runner import run_batch
from tidegate_serving.codecs.inputs import Inputs
from tidegate_serving.engines.base import OutputNames
from tidegate_serving.errors import ErrorCode, RequestError


def test_run_batch_several_requests_share_one_call() -> None:
    engine = FakeEngine()
    outcomes = run_batch(engine, [matrix_batch(1), matrix_batch(2, 3), matrix_batch(4)])
    assert [label_values(outcome) for outcome in outcomes] == [[2], [4, 6], [8]]
    assert engine.batch_rows == [4]


def test_run_batch_engine_error_fails_one_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "tidegate.serving"):
        outcomes = run_batch(FakeEngine(), [matrix_batch(1), matrix_batch(2, -3), matrix_batch(4)])
    assert label_values(outcomes[0]) == [2]
    assert label_values(outcomes[2]) == [8]
    error = outcomes[1]
    assert isinstance(error, RequestError)
    assert error.code is ErrorCode.INTERNAL
    assert "2 rows" in str(error)
    assert "negative value" not in str(error)  # the cause is in the log alone
    [record] = caplog.records
    assert record.exc_info is not None
    assert "negative value" in str(record.exc_info[1])


def test_run_batch_invalid_inputs_fail_one_request() -> None:
    invalid = RequestError("inputs[0]: expected a number.")

    def validate(inputs: Sequence[Inputs]) -> Batch:
        if any(len(each) == 3 for each in inputs):
            raise invalid
        return Batch.concatenate(inputs)  # type: ignore[arg-type]

    engine = FakeEngine()
    inputs = [matrix_batch(1), matrix_batch(2, 3, 4), matrix_batch(5, 6)]
    outcomes = run_batch(engine, inputs, validate)
    assert label_values(outcomes[0]) == [2]
    assert outcomes[1] is invalid
    assert label_values(outcomes[2]) == [10, 12]
    assert engine.batch_rows == [3]  # the valid requests share one call
    assert run_batch(engine, [inputs[1], inputs[1]], validate) == [invalid, invalid]


def test_run_batch_failing_validation_fails_one_request() -> None:
    def validate(inputs: Sequence[Inputs]) -> Batch:
        if len(inputs) > 1:
            raise RequestError("inputs[0]: expected a number.")
        if len(inputs[0]) == 2:
            raise ZeroDivisionError
        return Batch.concatenate(inputs)  # type: ignore[arg-type]

    outcomes = run_batch(FakeEngine(), [matrix_batch(1), matrix_batch(2, 3)], validate)
    assert label_values(outcomes[0]) == [2]
    assert isinstance(outcomes[1], RequestError)
    assert outcomes[1].code is ErrorCode.INTERNAL


def test_run_batch_passes_output_names_to_engine() -> None:
    engine = FakeEngine()
    run_batch(engine, [matrix_batch(1)], output_names=frozenset({"label"}))
    assert engine.output_names == [frozenset({"label"})]


class PanicError(BaseException):
    """An exception as PyO3's ``PanicException``, which derives from no ``Exception``."""


class RaisingEngine(FakeEngine):
    """Raises an exception of any class on a negative value."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def run(self, batch: Batch, output_names: OutputNames = None) -> Mapping[str, Array]:
        if (batch.arrays[MATRIX] < 0).any():
            raise self._error
        return super().run(batch, output_names)


@pytest.mark.parametrize("error", [PanicError("panic"), asyncio.CancelledError()])
def test_run_batch_any_exception_fails_one_request(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    valid, failed = run_batch(RaisingEngine(error), [matrix_batch(1), matrix_batch(-1)])
    assert label_values(valid) == [2]
    assert isinstance(failed, RequestError)
    assert failed.code is ErrorCode.INTERNAL
    assert caplog.records[-1].exc_info is not None
    assert caplog.records[-1].exc_info[1] is error


def test_run_batch_any_exception_of_validation_fails_one_request() -> None:
    def validate(inputs: Sequence[Inputs]) -> Batch:
        if len(inputs) > 1:
            raise RequestError("inputs[0]: expected a number.")
        if len(inputs[0]) == 2:
            raise PanicError
        return Batch.concatenate(inputs)  # type: ignore[arg-type]

    engine = FakeEngine()
    outcomes = run_batch(engine, [matrix_batch(1), matrix_batch(2, 3), matrix_batch(4)], validate)
    assert [isinstance(outcome, RequestError) for outcome in outcomes] == [False, True, False]
    assert engine.batch_rows == [2]  # the valid requests share one call


@pytest.mark.parametrize("exits", [SystemExit(), KeyboardInterrupt()])
@pytest.mark.parametrize("requests", [1, 2])
def test_run_batch_exit_ends_the_server(exits: BaseException, requests: int) -> None:
    with pytest.raises(type(exits)):
        run_batch(RaisingEngine(exits), [matrix_batch(-1)] * requests)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("source", ["validation", "hook"])
def test_run_batch_error_keeps_no_other_request(source: str) -> None:
    def validate(inputs: Sequence[Inputs]) -> Batch:
        batch = Batch.concatenate(inputs)  # type: ignore[arg-type]
        if source == "validation" and (batch.arrays[MATRIX] < 0).any():
            raise RequestError("inputs[0]: expected a positive number.")
        return batch

    engine = RaisingEngine(RequestError("The hook rejects it."))
    inputs = [matrix_batch(-1), matrix_batch(2)]
    others = weakref.ref(inputs[1].arrays[MATRIX])
    outcomes = run_batch(engine, inputs, validate)
    error = outcomes[0]
    del inputs, outcomes
    assert isinstance(error, RequestError)
    assert others() is None

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Running a batch: one validation and one engine call for several requests, and one outcome per request.

Inputs in, arrays out. The runner knows no protocol, no thread and no event loop.
"""

import logging
from collections.abc import Callable, Sequence

from tidegate.batch import Batch
from tidegate_serving.codecs.inputs import Inputs
from tidegate_serving.engines.base import Engine, OutputNames
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.errors import ErrorCode, RequestError

logger = logging.getLogger("tidegate.serving")

Validate = Callable[[Sequence[Inputs]], Batch]
"""Make one validated batch of the inputs of several requests, or raise a ``RequestError``."""

Outcome = ResultSlice | RequestError
"""A request's rows of a batch's outputs, or the reason why it has none: an error without frames."""

EXITS = (SystemExit, KeyboardInterrupt)
"""The exceptions that end the server. All others are failures of a request.

Those include classes that derive from ``BaseException`` alone, such as the ``PanicException`` of libraries in
Rust.
"""


def run_batch(
    engine: Engine,
    inputs: Sequence[Inputs],
    validate: Validate = Batch.concatenate,  # type: ignore[assignment]
    output_names: OutputNames = None,
) -> list[Outcome]:
    """Compute several requests together. If that fails, find the requests that cause it.

    Therefore one invalid row fails only its own request. If validation has failed, the valid requests are
    still computed together, so that one client cannot make the others' requests expensive.

    Args:
        engine: The engine that computes the batch.
        inputs: One element per request.
        validate: The function that makes one batch of them; the default takes validated batches.
        output_names: The outputs that at least one request selects; None selects all outputs.

    Returns:
        One outcome per request, in the same order.
    """
    if len(inputs) > 1:
        batch = None
        try:
            batch = validate(inputs)
            return _slice(_compute(engine, batch, output_names), inputs)
        except RequestError:
            if batch is None:
                return _run_valid(engine, inputs, validate, output_names)
            # A hook rejects a request; the calls below find it.
        except EXITS:
            raise
        except BaseException:  # the calls below find the request that causes it
            logger.info("A batch of %d requests failed. Running each request alone.", len(inputs))
    return [_run_alone(engine, each, validate, output_names) for each in inputs]


def _run_valid(
    engine: Engine, inputs: Sequence[Inputs], validate: Validate, output_names: OutputNames
) -> list[Outcome]:
    """Validate each request alone, and compute the valid ones together."""
    validated = [_validate_alone(each, validate) for each in inputs]
    batches = [batch for batch in validated if isinstance(batch, Batch)]
    computed = iter(run_batch(engine, batches, output_names=output_names))
    return [each if isinstance(each, RequestError) else next(computed) for each in validated]


def _compute(engine: Engine, batch: Batch, output_names: OutputNames) -> BatchResult:
    return BatchResult(batch, engine.run(batch, output_names))


def _slice(result: BatchResult, inputs: Sequence[Inputs]) -> list[Outcome]:
    slices: list[Outcome] = []
    start = 0
    for each in inputs:
        stop = start + len(each)
        slices.append(ResultSlice(result, start, stop))
        start = stop
    return slices


def _run_alone(engine: Engine, inputs: Inputs, validate: Validate, output_names: OutputNames) -> Outcome:
    try:
        return ResultSlice(_compute(engine, validate([inputs]), output_names), 0, len(inputs))
    except BaseException as error:
        return _request_error(error, len(inputs))


def _validate_alone(inputs: Inputs, validate: Validate) -> Batch | RequestError:
    try:
        return validate([inputs])
    except BaseException as error:
        return _request_error(error, len(inputs))


def _request_error(error: BaseException, rows: int) -> RequestError:
    """Return the outcome of the one request that caused an exception.

    Args:
        error: The exception.
        rows: The request's rows.
    """
    if isinstance(error, RequestError):
        return error.without_frames()
    if isinstance(error, EXITS):
        raise error
    # The log has the cause, and the client learns only the code.
    logger.error("The model failed on a request with %d rows.", rows, exc_info=error)
    return RequestError(
        f"The model failed on the {rows} rows of this request. The server log has the cause.",
        ErrorCode.INTERNAL,
    )

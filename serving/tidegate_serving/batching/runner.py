# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Inference: one check and one engine call for several requests, and each its own answer.

The transport-free core: rows in, arrays out. It knows no protocol, no thread and no loop.
"""

import logging
from collections.abc import Callable, Sequence

from tidegate.batch import Batch
from tidegate_serving.codecs.inputs import Inputs
from tidegate_serving.engines.base import Engine, OutputNames
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.errors import ErrorCode, RequestError

logger = logging.getLogger("tidegate.serving")

Check = Callable[[Sequence[Inputs]], Batch]
"""Makes one checked batch of several requests' rows, or raises a ``RequestError``."""


def run_batch(
    engine: Engine,
    parts: Sequence[Inputs],
    check: Check = Batch.concatenate,  # type: ignore[assignment]
    wanted: OutputNames = None,
) -> list[ResultSlice | RequestError]:
    """Answer several requests by one check and one call; if either fails, each by its own.

    So one bad row harms only its own request.

    Args:
        engine: What computes.
        parts: The requests' rows, one part a request.
        check: What makes a batch of them; the default takes parts that are checked.
        wanted: The outputs that at least one of them needs, as the engine takes them.

    Returns:
        For each request its answers, or what to tell its client.
    """
    if len(parts) > 1:
        try:
            sheet = _answer(engine, check(parts), wanted)
        except RequestError:
            pass  # whose mistake it is shows below
        except Exception:  # any failure in numeric code: who caused it shows below
            logger.info("A batch of %d requests failed; each is run again alone.", len(parts))
        else:
            return _split(sheet, parts)
    return [_run_alone(engine, part, check, wanted) for part in parts]


def _answer(engine: Engine, batch: Batch, wanted: OutputNames) -> BatchResult:
    return BatchResult(batch, engine.run(batch, wanted))


def _split(sheet: BatchResult, parts: Sequence[Inputs]) -> list[ResultSlice | RequestError]:
    shares: list[ResultSlice | RequestError] = []
    start = 0
    for part in parts:
        stop = start + len(part)
        shares.append(ResultSlice(sheet, start, stop))
        start = stop
    return shares


def _run_alone(
    engine: Engine, inputs: Inputs, check: Check, wanted: OutputNames
) -> ResultSlice | RequestError:
    try:
        return ResultSlice(_answer(engine, check([inputs]), wanted), 0, len(inputs))
    except RequestError as error:
        return error
    except Exception:  # whatever it was, the client learns that it was our fault, and the log has the rest
        logger.exception("The model failed on a request of %d rows.", len(inputs))
        return RequestError("The model failed on these rows; the server's log says why.", ErrorCode.INTERNAL)

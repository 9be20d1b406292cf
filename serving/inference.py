# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Inference: one check and one engine call for several requests, and each its own answer.

The transport-free core: rows in, arrays out. It knows no protocol, no thread and no loop.
"""

import logging
from collections.abc import Callable, Sequence

from serving.encode import Share, Sheet
from serving.engine import Engine, Wanted
from serving.matrix import Part
from serving.rejection import Kind, RequestError
from tidegate.batch import Batch

logger = logging.getLogger("tidegate.serving")

Check = Callable[[Sequence[Part]], Batch]
"""Makes one checked batch of several requests' rows, or raises a ``RequestError``."""


def run_together(
    engine: Engine,
    parts: Sequence[Part],
    check: Check = Batch.concatenate,  # type: ignore[assignment]
    wanted: Wanted = None,
) -> list[Share | RequestError]:
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


def _answer(engine: Engine, batch: Batch, wanted: Wanted) -> Sheet:
    return Sheet(batch, engine.run(batch, wanted))


def _split(sheet: Sheet, parts: Sequence[Part]) -> list[Share | RequestError]:
    shares: list[Share | RequestError] = []
    start = 0
    for part in parts:
        stop = start + len(part)
        shares.append(Share(sheet, start, stop))
        start = stop
    return shares


def _run_alone(engine: Engine, part: Part, check: Check, wanted: Wanted) -> Share | RequestError:
    try:
        return Share(_answer(engine, check([part]), wanted), 0, len(part))
    except RequestError as error:
        return error
    except Exception:  # whatever it was, the client learns that it was our fault, and the log has the rest
        logger.exception("The model failed on a request of %d rows.", len(part))
        return RequestError("The model failed on these rows; the server's log says why.", Kind.FAILED)

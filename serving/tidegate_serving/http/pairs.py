# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The endpoint of the sampled predictions, which the comparison of two tracks reads.

It authenticates no client. Its server listens on the loopback interface, so a client needs Kubernetes'
permission to forward a port of the pod.
"""

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate_serving.headers import is_number
from tidegate_serving.http.responses import json_response
from tidegate_serving.service import Service

_MAX_DIGITS = 18


def pairs_route(service: Service) -> Route:
    """Return the route of ``GET /pairs`` for a service that samples predictions."""
    pairs = service.pairs
    assert pairs is not None

    async def read_pairs(request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not is_number(after, _MAX_DIGITS):
            raise HTTPException(400, f"after: expected a number from 0 on, received '{after:.60}'")
        document = {
            "digest": service.model.bundle.digest,
            "epoch": pairs.epoch,
            "next": pairs.next,
            "samples": pairs.read(int(after)),
        }
        return json_response(orjson.dumps(document))

    return Route("/pairs", read_pairs)

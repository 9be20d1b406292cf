# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Requests that a rollout sends to both tracks itself, where no Gateway mirrors those of users.

The rows are the bundle's golden rows, and then random rows that its contract allows. Both tracks receive the
same request with the same id, so the servers' samples make pairs. Random rows do not have the distribution of
the traffic, so they can show a difference that users never meet, and miss one that they do.
"""

import random
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

from tidegate.contract import Contract, Scalar
from tidegate.errors import ServerError
from tidegate.protocol.requests import v2_body
from tidegate.protocol.samples import sample_rows
from tidegate_rollout.scrape import HTTP_PORT, Target

ROWS_PER_BLOCK = 16
"""Each row is a request of its own."""

Post = Callable[[str, int, str, bytes, str], None]
"""Sends a request: pod, port, path, body, request id. Raises ServerError if the response is not a success."""


class Replay:
    """The requests of one rollout.

    Args:
        contract: The contract of the stable track's bundle.
        model: The model's name in requests.
        post: Sends a request to a pod.
        seed: The seed of the random rows.
    """

    def __init__(self, contract: Contract, model: str, post: Post, seed: int = 0) -> None:
        self._contract = contract
        self._path = f"/v2/models/{model}/infer"
        self._post = post
        self._rows = _rows(contract, random.Random(seed))

    def send(self, targets: Iterable[Target]) -> list[str]:
        """Send the next rows to one pod of each track; return one sentence per request that failed."""
        pods = {target.track: target.pod for target in targets}
        if len(pods) < 2:
            return []
        failures = []
        for row in (next(self._rows) for _ in range(ROWS_PER_BLOCK)):
            body, request_id = v2_body(self._contract, [row]), f"rollout-{uuid.uuid4().hex}"
            for pod in pods.values():
                try:
                    self._post(pod, HTTP_PORT, self._path, body, request_id)
                except ServerError as error:
                    failures.append(f"{pod}: {error}")
        return failures


def _rows(contract: Contract, source: random.Random) -> Iterator[Sequence[Scalar]]:
    yield from contract.golden.rows
    while True:
        yield from sample_rows(contract, ROWS_PER_BLOCK, source.randrange(2**32))

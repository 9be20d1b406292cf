# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Paired predictions: a sample of a server's predictions, to compare two bundles request by request.

Servers with one rate sample the same requests, because the hash of the request's id decides. A sample has no
value of a feature and no id: it has a key, a digest of the row's outputs, the label and the score. Key and
digest are hashes keyed with the request's id, and with the release's key if it has one. So they can be
compared with those of the same row on another server, and a table of the few possible labels does not invert
them.
"""

import uuid
from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
from itertools import islice

import numpy as np

from tidegate.batch import Array
from tidegate.contract import Contract, Output, Sensitivity
from tidegate_serving.engines.result import ResultSlice
from tidegate_serving.observability.sampling import MAX_REQUEST_ROWS, RequestSampler

MAX_SAMPLES = 8_192
"""Samples that are kept. A reader that reads less often than they are replaced misses some."""

_HASH_BYTES = 8
_DROPPED_BITS = 12
"""Bits of an FP32's 24 significant ones that a digest does not cover.

The last bits of a prediction can depend on the other rows of its batch.
"""

Sample = tuple[str, str, int | str | None, float | None]
"""Key, digest of the outputs, label and score of one row."""


class PairRecorder:
    """The samples of one server, used from one event loop.

    Args:
        contract: The model's contract.
        rate: The fraction of the requests with an id that is sampled.
        capacity: The number of samples that are kept.
        key: A secret that the compared servers share, so that a reader who knows an id cannot try the labels.
            Without one, hashes are keyed with the id alone.
    """

    def __init__(
        self, contract: Contract, rate: float, capacity: int = MAX_SAMPLES, key: str | None = None
    ) -> None:
        self.epoch = uuid.uuid4().hex
        """A text by which a reader notices that the process is another one."""
        self.next = 0
        """The number of the next sample."""
        self._sampler = RequestSampler(rate)
        self._key = b"" if key is None else blake2b(key.encode()).digest()
        self._samples: deque[Sample] = deque(maxlen=capacity)
        self._label = contract.prediction if contract.has_one_label else None
        self._score = _find_score(contract)
        self._restricted = any(feature.sensitivity is Sensitivity.RESTRICTED for feature in contract.features)

    def record(self, request_id: str | None, outputs: Sequence[Output], result: ResultSlice) -> None:
        """Keep the predictions of a request, if its id is sampled.

        Args:
            request_id: The id; None or empty if the request has none.
            outputs: The outputs that the request selects.
            result: The outputs of its rows.
        """
        selected = self._sampler.select(request_id)
        if selected is None:
            return
        secret = blake2b(selected, key=self._key).digest()
        rows = min(len(result), MAX_REQUEST_ROWS)
        encoded = [_encode_rows(result.array(output.name)[:rows]) for output in outputs]
        labels, scores = self._labels(result, rows), self._scores(result, rows)
        for row in range(rows):
            number = row.to_bytes(_HASH_BYTES)
            label = labels[row]
            if self._restricted and label is not None:
                label = _keyed_hash(secret, b"label", number + str(label).encode())
            digest = _keyed_hash(secret, b"outputs", number + b"".join([column[row] for column in encoded]))
            self._samples.append((_keyed_hash(secret, b"key", number), digest, label, scores[row]))
        self.next += rows

    def read(self, after: int) -> list[Sample]:
        """Return the samples from this number on, of those that are still kept."""
        oldest = self.next - len(self._samples)
        return list(islice(self._samples, max(0, after - oldest), None))

    def _labels(self, result: ResultSlice, rows: int) -> list[int | str | None]:
        if self._label is None or self._label.name not in result.result.outputs:
            return [None] * rows
        labels: list[int | str | None] = result.array(self._label.name)[:rows].tolist()
        return labels

    def _scores(self, result: ResultSlice, rows: int) -> list[float | None]:
        if self._restricted or self._score is None or self._score[0] not in result.result.outputs:
            return [None] * rows
        name, column = self._score
        table = result.array(name)[:rows].reshape(rows, -1)
        scores: list[float | None] = (table.max(axis=1) if column is None else table[:, column]).tolist()
        return scores


def _find_score(contract: Contract) -> tuple[str, int | None] | None:
    """Return the output that has the score, and its column; the column is None for the largest value.

    The score is the only column of an output of floats, or the positive label's of two columns, or the
    largest of more columns.
    """
    for output in contract.outputs:
        if not output.datatype.is_float:
            continue
        if output.width in (None, 1):
            return output.name, 0
        if output.labels and output.labels == contract.labels:
            if output.width != 2:
                return output.name, None
            threshold = contract.threshold
            return output.name, 1 if threshold is None else output.labels.index(threshold.positive_label)
    return None


def _keyed_hash(secret: bytes, purpose: bytes, content: bytes) -> str:
    return blake2b(content, digest_size=_HASH_BYTES, key=secret, person=purpose).hexdigest()


def _encode_rows(array: Array) -> list[bytes]:
    """Encode each row of an output, shape ``[rows]`` or ``[rows, width]``; equal rows have equal bytes."""
    table = array.reshape(len(array), -1)
    if table.dtype.kind == "O":
        return ["".join([f"{value}\0" for value in row]).encode() for row in table.tolist()]
    if table.dtype.kind == "f":
        table = _round(table)
    return [row.tobytes() for row in np.ascontiguousarray(table)]


def _round(array: Array) -> Array:
    """Round floats to the significant bits that a digest covers, as integers of the same shape."""
    with np.errstate(over="ignore"):  # an FP64 beyond the range of FP32 is infinity
        bits = (array.astype(np.float32) + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    half = np.uint32(1 << (_DROPPED_BITS - 1))
    return (bits + half) >> np.uint32(_DROPPED_BITS)

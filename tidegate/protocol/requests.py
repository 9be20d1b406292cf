# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Payloads: rows drawn from a contract, and the bytes of requests that carry them.

The certificate is made on such rows and load tests send them. This is the client's side; the server
has its own, stricter reading of the same bytes.
"""

import json
import random
import struct
from collections.abc import Sequence
from typing import Any

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract, Datatype, Feature, Scalar

_MISSING_SHARE = 0.1


def sample_rows(contract: Contract, count: int, seed: int) -> list[list[Scalar]]:
    """Rows that the contract allows: values within the ranges seen in training, known categories.

    Of a feature that may be missing, a tenth is. The same seed gives the same rows, in every process.
    """
    source = random.Random(seed)
    return [[_sample(feature, source) for feature in contract.features] for _ in range(count)]


def v1_body(contract: Contract, rows: Sequence[Sequence[Scalar]]) -> bytes:
    """A V1 request with each row as a list, in the order of the features."""
    return _json({"instances": rows})


def v2_body(contract: Contract, rows: Sequence[Sequence[Scalar]]) -> bytes:
    """An Open Inference Protocol request in JSON: one matrix, or a tensor a feature."""
    if contract.matrix_datatype is not None:
        data = [value for row in rows for value in row]
        shape = [len(rows), len(contract.features)]
        return _json({"inputs": [_tensor(MATRIX, contract.matrix_datatype, shape) | {"data": data}]})
    return _json(
        {
            "inputs": [
                _tensor(feature.name, feature.datatype, [len(rows)]) | {"data": [row[index] for row in rows]}
                for index, feature in enumerate(contract.features)
            ]
        }
    )


def v2_binary_body(contract: Contract, rows: Sequence[Sequence[Scalar]]) -> tuple[bytes, int]:
    """An Open Inference Protocol request with the binary tensor extension, and its header's length in bytes.

    The length goes into ``Inference-Header-Content-Length``; the answer is asked for in binary as well.
    """
    datatypes = {feature.name: feature.datatype for feature in contract.features}
    if contract.matrix_datatype is not None:
        datatypes = {MATRIX: contract.matrix_datatype}
    arrays = Batch.from_rows(contract, rows).arrays
    contents = {name: raw_contents(array) for name, array in arrays.items()}
    header = _json(
        {
            "inputs": [
                _tensor(name, datatypes[name], list(array.shape))
                | {"parameters": {"binary_data_size": len(contents[name])}}
                for name, array in arrays.items()
            ],
            "parameters": {"binary_data_output": True},
        }
    )
    return header + b"".join(contents.values()), len(header)


def raw_contents(array: Any) -> bytes:
    """A tensor in the protocol's binary form: little-endian, row by row; text as 4-byte length and UTF-8."""
    if array.dtype != object:
        return bytes(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    encoded = (str(text).encode() for text in array.ravel())
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def _sample(feature: Feature, source: random.Random) -> Scalar:
    if feature.missing and source.random() < _MISSING_SHARE:
        return None
    if feature.categories is not None:
        return source.choice(feature.categories) if feature.categories else ""
    low = feature.minimum if feature.minimum is not None else 0.0
    high = feature.maximum if feature.maximum is not None else 1.0
    if feature.datatype is Datatype.BOOL:
        return source.random() < 0.5
    if feature.datatype.is_integer:
        return source.randint(int(low), int(high))
    # Six digits are what a person or a program would send; more would only measure the parsing of digits.
    return min(max(float(f"{source.uniform(low, high):.6g}"), low), high)


def _tensor(name: str, datatype: Datatype, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype.value, "shape": shape}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()

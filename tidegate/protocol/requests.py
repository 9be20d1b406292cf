# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Inference requests: the body of a V1, a V2 or a V2 binary request, and raw tensors.

It encodes rows and validates none of their values: the server does.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from tidegate.batch import Batch
from tidegate.contract import MATRIX, Contract, Datatype, Scalar


def v1_body(contract: Contract, rows: Sequence[Sequence[Scalar]]) -> bytes:
    """Encode a V1 request: each row a list, in the order of the features."""
    return _json({"instances": rows})


def v2_body(contract: Contract, rows: Sequence[Sequence[Scalar]]) -> bytes:
    """Encode an Open Inference Protocol request in JSON: one matrix, or one tensor per feature."""
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
    """Encode an Open Inference Protocol request with the binary tensor data extension.

    The request has ``binary_data_output`` set, so the response's tensors are binary as well.

    Returns:
        The body, and the number of its bytes that are JSON: the value of the header
        :data:`~tidegate.protocol.constants.INFERENCE_HEADER_CONTENT_LENGTH`.
    """
    datatypes = {feature.name: feature.datatype for feature in contract.features}
    if contract.matrix_datatype is not None:
        datatypes = {MATRIX: contract.matrix_datatype}
    arrays = Batch.from_rows(contract, rows).arrays
    contents = {name: encode_raw_tensor(array) for name, array in arrays.items()}
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


def encode_raw_tensor(array: NDArray[Any]) -> bytes:
    """Encode a tensor as raw bytes, in row-major order.

    Numbers are little-endian. A text is the length of its UTF-8 form in four bytes, then its UTF-8 form. From
    the Open Inference Protocol, "Binary Tensor Data extension" and ``raw_input_contents``.

    Args:
        array: A tensor of any shape, such as ``[rows]`` or ``[rows, width]``.
    """
    if array.dtype != object:
        return bytes(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    encoded = [str(text).encode() for text in array.ravel().tolist()]
    return b"".join([struct.pack("<I", len(text)) + text for text in encoded])


def _tensor(name: str, datatype: Datatype, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype.value, "shape": shape}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Small contracts, one per form of input, for tests that need no model."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.contract import Contract


def contract(
    features: list[dict[str, Any]],
    outputs: list[dict[str, Any]] | None = None,
    rows: list[list[Any]] | None = None,
) -> Contract:
    """Return a classifier's contract with these features and golden rows."""
    rows = rows or [[None] * len(features)]
    outputs = outputs or [
        {"name": "label", "datatype": "INT64"},
        {"name": "probabilities", "datatype": "FP32", "width": 2, "labels": [0, 1]},
    ]
    numbers = {feature["datatype"] for feature in features}
    layout = "matrix" if len(numbers) == 1 and "BYTES" not in numbers else "frame"
    return Contract.model_validate_json(
        json.dumps(
            {
                "name": "test",
                "task": "classification",
                "layout": layout,
                "features": features,
                "outputs": outputs,
                "labels": [] if outputs[0].get("width") else [0, 1],
                "golden": {
                    "rows": rows,
                    "outputs": {output["name"]: [0] * len(rows) for output in outputs},
                    "tolerance": 1e-5,
                },
            }
        )
    )


TARGETS: dict[str, NDArray[Any]] = {
    "INT64": np.array([[1, 2**53 + 1], [-3, 4]]),
    "FP64": np.array([[0.1 + 0.2, 1e300], [-0.0, 4.0]]),
    "BYTES": np.array([["a],[b", 'é"'], ["", "no"]], object),
}
"""By data type, the labels or values of two targets for two rows, ``[rows, targets]``."""


def several_targets(datatype: str) -> Contract:
    """Return the contract of a model with two targets."""
    label = {"name": "label", "datatype": datatype, "width": 2, "labels": ["first", "second"]}
    return contract([{"name": "a", "datatype": "FP32"}], [label])


MATRIX = contract([{"name": "a", "datatype": "FP32"}, {"name": "b", "datatype": "FP32", "missing": True}])
INTEGERS = contract([{"name": "a", "datatype": "INT64"}, {"name": "b", "datatype": "INT64"}])
SMALL = contract([{"name": "a", "datatype": "INT32"}])
BRANCHES = contract(
    [
        {"name": "branch", "datatype": "INT64", "categories": [3, 7]},
        {"name": "count", "datatype": "INT64"},
        {"name": "product", "datatype": "INT64", "categories": [1, 2], "handle_unknown": "accept"},
    ]
)
REMARKS = contract(
    [{"name": "remark", "datatype": "BYTES"}, {"name": "note", "datatype": "BYTES", "missing": True}]
)
DATES = contract(
    [
        {"name": "day", "datatype": "BYTES", "format": "date"},
        {"name": "time", "datatype": "BYTES", "format": "date-time", "missing": True},
    ]
)
BOOLEANS = contract([{"name": "a", "datatype": "BOOL"}])
DOUBLES = contract([{"name": "a", "datatype": "FP64"}])
MIXED = contract(
    [
        {"name": "size", "datatype": "FP32", "missing": True},
        {"name": "count", "datatype": "INT64"},
        {"name": "flag", "datatype": "BOOL"},
        {"name": "colour", "datatype": "BYTES", "categories": ["blue", "red"]},
        {
            "name": "city",
            "datatype": "BYTES",
            "categories": ["Oslo"],
            "handle_unknown": "accept",
            "missing": True,
        },
    ]
)

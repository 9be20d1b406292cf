# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import struct

import numpy as np

from tests.support.bundles import contract
from tidegate.contract import MATRIX, Contract, Datatype, Feature
from tidegate.protocol.requests import v1_body, v2_binary_body, v2_body
from tidegate.protocol.samples import sample_rows


def golden(rows):
    return contract().golden.model_dump() | {"rows": rows}


def matrix_contract():
    changed = {
        "features": [Feature(name=n, datatype=Datatype.FP32, minimum=-1.0, maximum=2.0) for n in "ab"],
        "golden": golden(((1.0, 2.0),)),
    }
    return Contract.model_validate(contract().model_dump() | changed)


def test_v2_binary_body_keeps_the_largest_integers_exact():
    count = Feature(name="count", datatype=Datatype.INT64, minimum=2**63 - 2, maximum=2**63 - 1)
    changed = contract().model_dump() | {"features": [count], "golden": golden(((2**63 - 1,),))}
    large = Contract.model_validate(changed)
    rows = sample_rows(large, 50, seed=1)
    assert {value for (value,) in rows} == {2**63 - 2, 2**63 - 1}
    body, length = v2_binary_body(large, rows)
    assert np.frombuffer(body[length:], "<i8").tolist() == [value for (value,) in rows]


def test_v2_body_of_a_matrix_has_one_tensor():
    body = json.loads(v2_body(matrix_contract(), [[0.5, 1.5], [1.0, 2.0]]))
    assert body == {
        "inputs": [{"name": MATRIX, "datatype": "FP32", "shape": [2, 2], "data": [0.5, 1.5, 1.0, 2.0]}]
    }


def test_v2_body_of_mixed_features_has_one_tensor_per_feature():
    body = json.loads(v2_body(contract(), [[1.5, 3, True, "red"], [None, 4, False, None]]))
    assert [(t["name"], t["datatype"], t["shape"]) for t in body["inputs"]] == [
        ("length", "FP32", [2]),
        ("count", "INT64", [2]),
        ("ripe", "BOOL", [2]),
        ("colour", "BYTES", [2]),
    ]
    assert [t["data"] for t in body["inputs"]] == [[1.5, None], [3, 4], [True, False], ["red", None]]


def test_v1_body_has_one_list_per_row():
    assert json.loads(v1_body(contract(), [[1.5, 3, True, "red"]])) == {"instances": [[1.5, 3, True, "red"]]}


def test_v2_binary_body_is_json_then_the_tensors_in_order():
    body, length = v2_binary_body(contract(), [[1.5, 3, True, "red"], [2.5, 4, False, "é"]])
    header, rest = json.loads(body[:length]), body[length:]
    sizes = [tensor["parameters"]["binary_data_size"] for tensor in header["inputs"]]
    assert sizes == [8, 16, 2, 4 + 3 + 4 + 2]
    assert sum(sizes) == len(rest)
    assert np.frombuffer(rest, "<f4", 2).tolist() == [1.5, 2.5]
    assert np.frombuffer(rest, "<i8", 2, 8).tolist() == [3, 4]
    assert rest[24:26] == b"\x01\x00"
    assert rest[26:] == struct.pack("<I", 3) + b"red" + struct.pack("<I", 2) + "é".encode()

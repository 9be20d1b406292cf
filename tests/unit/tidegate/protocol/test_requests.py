# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import struct

import numpy as np

from tests.support.bundles import contract
from tidegate.contract import MATRIX, Contract, Datatype, Feature
from tidegate.protocol.requests import sample_rows, v1_body, v2_binary_body, v2_body


def golden(rows):
    return contract().golden.model_dump() | {"rows": rows}


def matrix_contract():
    changed = {
        "features": [Feature(name=n, datatype=Datatype.FP32, minimum=-1.0, maximum=2.0) for n in "ab"],
        "golden": golden(((1.0, 2.0),)),
    }
    return Contract.model_validate(contract().model_dump() | changed)


def test_sampled_rows_stay_within_what_the_contract_allows():
    rows = sample_rows(contract(), 500, seed=1)
    lengths, counts, ripe, colours = zip(*rows, strict=True)
    assert all(value is None or 1.0 <= value <= 7.0 for value in lengths)
    assert set(counts) == set(range(10))
    assert set(ripe) == {True, False}
    assert set(colours) == {None, "blue", "red"}
    assert 20 < lengths.count(None) < 100


def test_the_largest_whole_numbers_can_be_sampled_and_sent():
    count = Feature(name="count", datatype=Datatype.INT64, minimum=2**63 - 2, maximum=2**63 - 1)
    changed = contract().model_dump() | {"features": [count], "golden": golden(((2**63 - 1,),))}
    large = Contract.model_validate(changed)
    rows = sample_rows(large, 50, seed=1)
    assert {value for (value,) in rows} == {2**63 - 2, 2**63 - 1}
    body, length = v2_binary_body(large, rows)
    assert np.frombuffer(body[length:], "<i8").tolist() == [value for (value,) in rows]


def test_the_same_seed_gives_the_same_rows():
    assert sample_rows(contract(), 20, seed=1) == sample_rows(contract(), 20, seed=1)
    assert sample_rows(contract(), 20, seed=1) != sample_rows(contract(), 20, seed=2)


def test_a_matrix_is_one_tensor():
    body = json.loads(v2_body(matrix_contract(), [[0.5, 1.5], [1.0, 2.0]]))
    assert body == {
        "inputs": [{"name": MATRIX, "datatype": "FP32", "shape": [2, 2], "data": [0.5, 1.5, 1.0, 2.0]}]
    }


def test_mixed_features_are_a_tensor_each():
    body = json.loads(v2_body(contract(), [[1.5, 3, True, "red"], [None, 4, False, None]]))
    assert [(t["name"], t["datatype"], t["shape"]) for t in body["inputs"]] == [
        ("length", "FP32", [2]),
        ("count", "INT64", [2]),
        ("ripe", "BOOL", [2]),
        ("colour", "BYTES", [2]),
    ]
    assert [t["data"] for t in body["inputs"]] == [[1.5, None], [3, 4], [True, False], ["red", None]]


def test_v1_carries_rows():
    assert json.loads(v1_body(contract(), [[1.5, 3, True, "red"]])) == {"instances": [[1.5, 3, True, "red"]]}


def test_the_binary_form_is_a_json_header_and_the_tensors_one_after_the_other():
    body, length = v2_binary_body(contract(), [[1.5, 3, True, "red"], [2.5, 4, False, "é"]])
    header, rest = json.loads(body[:length]), body[length:]
    sizes = [tensor["parameters"]["binary_data_size"] for tensor in header["inputs"]]
    assert sizes == [8, 16, 2, 4 + 3 + 4 + 2]
    assert sum(sizes) == len(rest)
    assert np.frombuffer(rest, "<f4", 2).tolist() == [1.5, 2.5]
    assert np.frombuffer(rest, "<i8", 2, 8).tolist() == [3, 4]
    assert rest[24:26] == b"\x01\x00"
    assert rest[26:] == struct.pack("<I", 3) + b"red" + struct.pack("<I", 2) + "é".encode()

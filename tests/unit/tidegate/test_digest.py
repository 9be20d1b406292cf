# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.digest import canonical_json, parse_digest, sha256, sha256_of_file
from tidegate.errors import ConfigurationError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_canonical_json_survives_a_round_trip(value):
    content = canonical_json(value)
    assert json.loads(content) == value
    assert canonical_json(json.loads(content)) == content


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_canonical_json_of_values_outside_json_raises(value):
    with pytest.raises((ValueError, TypeError)):
        canonical_json(value)


def test_canonical_json_sorts_keys_and_ends_with_a_newline():
    assert canonical_json({"b": 1.0, "a": "é"}) == '{"a":"é","b":1.0}\n'.encode()


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, (1 << 20) + 1])
def test_sha256_of_file_equals_sha256_of_its_bytes(tmp_path, size):
    (tmp_path / "file").write_bytes(b"x" * size)
    expected = hashlib.sha256(b"x" * size).hexdigest()
    assert sha256_of_file(tmp_path / "file") == sha256(b"x" * size) == expected


@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_parse_digest_accepts_both_forms(prefix):
    assert parse_digest(prefix + "0123456789abcdef" * 4) == "0123456789abcdef" * 4


@pytest.mark.parametrize("digest", ["", "sha256:", "abc", "0" * 63, "G" * 64, "A" * 64, "sha512:" + "0" * 64])
def test_parse_digest_of_other_texts_raises(digest):
    with pytest.raises(ConfigurationError) as error:
        parse_digest(digest)
    assert f"'{digest}'" in str(error.value)
    assert "expected 64 hexadecimal digits in lower case" in str(error.value)

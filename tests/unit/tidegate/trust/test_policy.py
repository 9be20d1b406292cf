# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tidegate.errors import ConfigurationError
from tidegate.trust.policy import TRUSTED_TYPES, Policy

DIGEST = "0123456789abcdef" * 4


def test_policy_by_default_allows_no_pickle() -> None:
    assert Policy().allowed_joblib_digests == frozenset()
    assert Policy().trusted_types is TRUSTED_TYPES


@pytest.mark.parametrize("name", ["", "os", "os.system()", "*", "a..b", "a.b "])
def test_policy_trusts_full_type_names_only(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Policy(trusted_types=frozenset({name}))
    assert f"'{name}': expected the full name of one type" in str(caught.value)


@pytest.mark.parametrize("digest", [DIGEST, f"sha256:{DIGEST}"])
def test_policy_accepts_a_digest_with_or_without_prefix(digest: str) -> None:
    assert Policy(allowed_joblib_digests=frozenset({digest})).allowed_joblib_digests == {DIGEST}


@pytest.mark.parametrize("digest", ["*", "", DIGEST[:12], DIGEST.upper()])
def test_policy_rejects_what_is_not_a_digest(digest: str) -> None:
    with pytest.raises(ConfigurationError, match="64 hexadecimal digits"):
        Policy(allowed_joblib_digests=frozenset({digest}))

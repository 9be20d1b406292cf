# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest

from tests.support.signing import IDENTITY, NOW, Authority, new_key, public_pem, write_policy
from tidegate.errors import ConfigurationError
from tidegate.trust.policy import TRUSTED_TYPES
from tidegate.trust.policy_file import read_policy
from tidegate.trust.signers import CertificateSigner, KeySigner

DIGEST = "0123456789abcdef" * 4


def test_read_policy_returns_signers_and_limits(tmp_path: Path) -> None:
    key, authority = new_key(), Authority()
    file = write_policy(
        tmp_path / "policy.yaml",
        signers=[
            {"name": "training", "public_key": public_pem(key)},
            {
                "name": "release",
                "certificate_authorities": authority.pem,
                "identity": IDENTITY,
                "valid_at": NOW.isoformat(),
            },
        ],
        revoked=[f"sha256:{DIGEST}"],
        max_bundle_bytes=1000,
        trusted_types=["package.module.Type"],
        allowed_joblib_digests=[DIGEST],
    )
    policy = read_policy(file)
    assert policy.signers == (
        KeySigner("training", key.private_key.public_key()),
        CertificateSigner("release", [authority.root], IDENTITY, NOW),
    )
    assert policy.revoked == policy.allowed_joblib_digests == {DIGEST}
    assert policy.max_bundle_bytes == 1000
    assert policy.trusted_types == TRUSTED_TYPES | {"package.module.Type"}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"signers": []}, r"policy\.yaml:1: field 'signers': .*at least 1 item"),
        ({"signers": None}, r"policy\.yaml:1: field 'signers': expected a value"),
        ({"max_bundle_bytes": None}, r"field 'max_bundle_bytes': expected a value"),
        ({"signer": []}, r"policy\.yaml:1: unknown field 'signer'"),
        ({"signers": [{"name": "a"}]}, "expected either 'public_key' or 'certificate_authorities'"),
        (
            {"signers": [{"name": "a", "public_key": "x"}]},
            r":3: field 'signers\.0\.public_key': .*public key in",
        ),
        (
            {"signers": [{"name": "a", "certificate_authorities": "x", "identity": "b"}]},
            r"field 'signers\.0\.certificate_authorities': expected certificates in PEM",
        ),
        (
            {"signers": [{"name": "a", "certificate_authorities": "x"}]},
            r"'signers\.0\.identity': expected with 'certificate_authorities'",
        ),
        (
            {"signers": [{"name": "a", "public_key": "x", "valid_at": "2026-01-01T00:00:00Z"}]},
            r"'signers\.0\.valid_at': .* a key has no expiry",
        ),
        ({"signers": [{"name": "a", "public_key": "x", "valid_at": "2026-01-01"}]}, "valid_at"),
        ({"revoked": ["abc"]}, r"policy\.yaml: 'abc' is not a digest"),
        ({"trusted_types": ["*"]}, r"policy\.yaml: The policy cannot trust '\*'"),
        ({"max_bundle_bytes": 0}, r"field 'max_bundle_bytes'"),
    ],
)
def test_read_policy_names_the_wrong_field(tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read_policy(write_policy(tmp_path / "policy.yaml", **fields))

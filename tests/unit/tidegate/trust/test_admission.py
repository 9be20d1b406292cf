# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from tests.support.bundles import write_bundle
from tests.support.signing import NOW, Authority, new_key, trusting_identity, trusting_key
from tidegate.bundle import Bundle
from tidegate.errors import BundleError
from tidegate.trust.admission import admit
from tidegate.trust.attestations import sign_bundle
from tidegate.trust.policy import Policy


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "iris")


def test_default_policy_requires_no_signature(bundle: Bundle) -> None:
    assert admit(bundle, Policy()) is None


def test_policy_without_signers_ignores_a_signature(bundle: Bundle) -> None:
    sign_bundle(bundle, new_key())
    assert admit(bundle, Policy()) is None


def test_bundle_of_the_largest_size_is_accepted(bundle: Bundle) -> None:
    size = sum(entry.size for entry in bundle.manifest.files.values())
    assert admit(bundle, Policy(max_bundle_bytes=size)) is None
    with pytest.raises(BundleError, match=rf"has {size} bytes, and the policy allows {size - 1}"):
        admit(bundle, Policy(max_bundle_bytes=size - 1))


def test_revoked_digest_is_rejected_without_signers(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="is revoked by the policy"):
        admit(bundle, Policy(revoked=frozenset({f"sha256:{bundle.digest}"})))


def test_revoked_key_is_rejected_although_it_is_trusted(bundle: Bundle) -> None:
    key = new_key()
    sign_bundle(bundle, key)
    with pytest.raises(BundleError, match=f"the policy revokes, sha256:{key.fingerprint}"):
        admit(bundle, trusting_key(key, revoked=frozenset({key.fingerprint})), NOW)


def test_revoked_issuer_rejects_its_certificates(bundle: Bundle) -> None:
    authority = Authority()
    sign_bundle(bundle, authority.signer())
    revoked = frozenset({authority.issuer.fingerprint(hashes.SHA256()).hex()})
    with pytest.raises(BundleError, match="with a key or certificate that the policy revokes"):
        admit(bundle, trusting_identity(authority, revoked=revoked), NOW)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.bundles import write_bundle
from tests.support.signing import (
    IDENTITY,
    NOW,
    Authority,
    new_key,
    trusting_identity,
    trusting_key,
)
from tidegate.bundle import MANIFEST, PROVENANCE, SIGNATURE, Bundle
from tidegate.errors import BundleError
from tidegate.trust.admission import admit
from tidegate.trust.attestations import sign_bundle
from tidegate.trust.envelope import Envelope
from tidegate.trust.policy import Policy
from tidegate.trust.signature import signature_statement
from tidegate.trust.signing_key import SigningKey


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "iris")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda it: it.name)
def test_signature_by_a_trusted_key_is_accepted(bundle: Bundle, curve: ec.EllipticCurve) -> None:
    key = new_key(curve)
    sign_bundle(bundle, key)
    assert admit(bundle, trusting_key(key), NOW) == "training"


def test_signature_by_a_trusted_identity_is_accepted(bundle: Bundle, authority: Authority) -> None:
    sign_bundle(bundle, authority.signer())
    assert admit(bundle, trusting_identity(authority), NOW) == "training"


def test_signing_keeps_the_digest_and_lists_each_file(bundle: Bundle) -> None:
    listed = json.loads(signature_statement(bundle))["predicate"]["resources"]
    assert {entry["name"]: entry["digest"] for entry in listed} == {
        MANIFEST: bundle.digest,
        **{name: entry.sha256 for name, entry in bundle.manifest.files.items()},
    }


def test_a_second_key_is_accepted_during_a_rotation(bundle: Bundle) -> None:
    old, new = new_key(), new_key()
    both = Policy(signers=trusting_key(old, "old").signers + trusting_key(new, "new").signers)
    sign_bundle(bundle, old)
    assert admit(bundle, both, NOW) == "old"
    sign_bundle(bundle, new)
    assert admit(bundle, both, NOW) == "new"


def test_certificate_is_judged_at_the_time_of_the_policy(bundle: Bundle, authority: Authority) -> None:
    sign_bundle(bundle, authority.signer(days=30))
    later = NOW + timedelta(days=60)
    with pytest.raises(
        BundleError, match=r"valid from 2026-05-31 .* to 2026-06-30 .*, and not at 2026-07-31"
    ):
        admit(bundle, trusting_identity(authority), later)
    assert admit(bundle, trusting_identity(authority, valid_at=NOW), later) == "training"


def signed_statement(bundle: Bundle, key: SigningKey, change: Callable[[Any], Any]) -> None:
    """Sign a bundle's statement after a change."""
    payload = change(json.loads(signature_statement(bundle)))
    bundle.write_excluded(SIGNATURE, key.sign(json.dumps(payload).encode()).to_bytes())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda it: it | {"_type": "https://in-toto.io/Statement/v0.1"}, "in-toto statement of version 1"),
        (lambda it: [it], "in-toto statement of version 1"),
        (
            lambda it: it | {"predicateType": "https://slsa.dev/provenance/v1"},
            "is not a signature of a model",
        ),
        (lambda it: it | {"predicate": {}}, "lists no files"),
        (lambda it: it | {"predicate": {"resources": []}}, "each file once with its SHA-256"),
        (
            lambda it: it | {"predicate": {"resources": it["predicate"]["resources"] * 2}},
            "each file once with its SHA-256",
        ),
        (
            lambda it: it | {"predicate": {"resources": it["predicate"]["resources"][1:]}},
            "is the signature of another bundle",
        ),
    ],
)
def test_trusted_signature_of_another_statement_is_rejected(
    bundle: Bundle, change: Callable[[Any], Any], problem: str
) -> None:
    key = new_key()
    signed_statement(bundle, key, change)
    with pytest.raises(BundleError, match=problem):
        admit(bundle, trusting_key(key), NOW)


def test_signature_that_lists_files_outside_the_digest_is_accepted(bundle: Bundle) -> None:
    key = new_key()

    def with_provenance(document: Any) -> Any:
        entry = {"name": PROVENANCE, "algorithm": "sha256", "digest": "0" * 64}
        document["predicate"]["resources"].append(entry)
        return document

    signed_statement(bundle, key, with_provenance)
    assert admit(bundle, trusting_key(key), NOW) == "training"


def test_altered_envelope_is_rejected(bundle: Bundle) -> None:
    key = new_key()
    sign_bundle(bundle, key)
    envelope = Envelope.parse((bundle.path / SIGNATURE).read_bytes(), "")
    altered = Envelope(envelope.payload + b" ", envelope.signature, (), envelope.key_hint)
    bundle.write_excluded(SIGNATURE, altered.to_bytes())
    with pytest.raises(BundleError, match="its content was altered after it was signed"):
        admit(bundle, trusting_key(key), NOW)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 5000, b"\xff", b'{"mediaType": "text/plain"}'])
def test_file_that_is_not_a_signature_is_rejected(bundle: Bundle, content: bytes) -> None:
    bundle.write_excluded(SIGNATURE, content)
    with pytest.raises(BundleError, match="is not a Sigstore bundle with a signed statement"):
        admit(bundle, trusting_key(new_key()), NOW)


def test_signature_without_key_hint_is_verified_by_its_key(bundle: Bundle) -> None:
    key = new_key()
    sign_bundle(bundle, key)
    document = json.loads((bundle.path / SIGNATURE).read_bytes())
    document["verificationMaterial"]["publicKey"] = {}
    bundle.write_excluded(SIGNATURE, json.dumps(document).encode())
    assert admit(bundle, trusting_key(key), NOW) == "training"
    with pytest.raises(BundleError, match="its content was altered"):
        admit(bundle, trusting_key(new_key()), NOW)


def test_certificate_of_an_unknown_version_is_rejected(bundle: Bundle, authority: Authority) -> None:
    envelope = authority.signer().sign(signature_statement(bundle))
    certificate = envelope.certificates[0].replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
    bundle.write_excluded(SIGNATURE, replace(envelope, certificates=(certificate,)).to_bytes())
    with pytest.raises(BundleError, match="its certificates cannot be read"):
        admit(bundle, trusting_identity(authority), NOW)


def test_identity_is_compared_as_a_whole(bundle: Bundle, authority: Authority) -> None:
    sign_bundle(bundle, authority.signer(f"x{IDENTITY}"))
    with pytest.raises(BundleError, match=f"is that of x{IDENTITY}, expected {IDENTITY}"):
        admit(bundle, trusting_identity(authority), NOW)

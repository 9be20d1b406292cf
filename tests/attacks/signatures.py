# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Attacks on the deployer's policy: missing, wrong, old and moved signatures, a policy in the artifact."""

import shutil
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.attacks.attack import Attack, Targets, start, write
from tests.support.signing import NOW, Authority, new_key, public_pem, trusting_identity, trusting_key
from tests.support.trained_bundles import altered
from tidegate.bundle import METRICS, ML_BOM, SIGNATURE, SLSA_PROVENANCE, Bundle, open_bundle
from tidegate.store import Store
from tidegate.trust.admission import admit
from tidegate.trust.attestations import sign_bundle
from tidegate.trust.envelope import Envelope
from tidegate.trust.policy import Policy
from tidegate.trust.signing_key import SigningKey

KEY = new_key()
"""The key that the deployer trusts."""
AUTHORITY = Authority()
"""The authority that the deployer trusts."""


def _copied(targets: Targets, folder: Path, key: SigningKey | None) -> Bundle:
    """Return a copy of a bundle, signed with a key."""
    bundle = open_bundle(Path(shutil.copytree(targets.fallback.path, folder / "bundle")))
    if key is not None:
        sign_bundle(bundle, key)
    return bundle


def _signed(
    key: SigningKey | None, policy: Policy, change: Callable[[Bundle], object] = lambda bundle: None
) -> Attack:
    """Return the attack with a bundle that is signed with a key, and changed afterwards."""

    def attack(targets: Targets, folder: Path) -> None:
        bundle = _copied(targets, folder, key)
        change(bundle)
        start(bundle.path, bundle.digest, policy=policy)

    return attack


def _by_identity(signer: SigningKey, days: int = 0, **fields: frozenset[str]) -> Attack:
    """Return the attack with a certificate, which is judged some days after ``NOW``."""
    return _signed(signer, trusting_identity(AUTHORITY, valid_at=NOW + timedelta(days=days), **fields))


def _pull(store: Store, bundle: Bundle, folder: Path, policy: Policy) -> Bundle:
    reference = store.push(bundle)
    return store.pull(reference, folder / "pulled", admit=lambda pulled: admit(pulled, policy))


def _unsigned_at_pull(targets: Targets, folder: Path) -> None:
    _pull(Store(str(folder / "store")), targets.fallback, folder, trusting_key(KEY))


def _between_pull_and_load(change: Callable[[Bundle], object]) -> Attack:
    """Return the attack that changes a pulled bundle before the server loads it."""

    def attack(targets: Targets, folder: Path) -> None:
        bundle = _copied(targets, folder, KEY)
        pulled = _pull(Store(str(folder / "store")), bundle, folder, trusting_key(KEY))
        change(pulled)
        start(pulled.path, bundle.digest, policy=trusting_key(KEY))

    return attack


def _of_another_bundle(name: str) -> Attack:
    """Return the attack with a trusted signature of another bundle, or of another statement."""

    def attack(targets: Targets, folder: Path) -> None:
        bundle = _copied(targets, folder, None)
        other = open_bundle(Path(shutil.copytree(targets.compiled.path, folder / "other")))
        sign_bundle(other, KEY)
        bundle.write_excluded(SIGNATURE, (other.path / name).read_bytes())
        start(bundle.path, bundle.digest, policy=trusting_key(KEY))

    return attack


def _sealed_again(targets: Targets, folder: Path) -> None:
    """Change a file of a signed bundle and seal it again, so that its digest is valid."""
    signed = _copied(targets, folder, KEY)
    changed = altered(signed, folder / "changed", lambda path: write(path / METRICS, b'{"test": {"f1": 1}}'))
    start(changed.path, changed.digest, policy=trusting_key(KEY))


def _policy_in_the_bundle(targets: Targets, folder: Path) -> None:
    """Seal a policy that trusts the attacker's key into the bundle, and sign with that key."""
    attacker = new_key()
    pem = public_pem(attacker).replace("\n", "\n    ")
    policy = f"signers:\n- name: training\n  public_key: |\n    {pem}\n".encode()
    bundle = altered(targets.fallback, folder / "bundle", lambda path: write(path / "policy.yaml", policy))
    sign_bundle(bundle, attacker)
    start(bundle.path, bundle.digest, policy=trusting_key(KEY))


def _replaced_payload(bundle: Bundle) -> None:
    """Put the statement of another signer into the envelope of the trusted one."""
    envelope = Envelope.parse((bundle.path / SIGNATURE).read_bytes(), SIGNATURE)
    payload = envelope.payload.replace(b'"files"', b'"shards"')
    bundle.write_excluded(SIGNATURE, Envelope(payload, envelope.signature, (), envelope.key_hint).to_bytes())


def _revoked_as_newest(targets: Targets, folder: Path) -> None:
    """Write an older, revoked bundle as the newest entry of a channel; both are signed."""
    store, policy = (
        Store(str(folder / "store")),
        trusting_key(KEY, revoked=frozenset({targets.pickled.digest})),
    )
    for number, bundle in enumerate((targets.pickled, targets.fallback, targets.pickled)):
        signed = open_bundle(Path(shutil.copytree(bundle.path, folder / str(number))))
        sign_bundle(signed, KEY)
        store.push(signed)
        channel = store.move_channel(signed.manifest.name, "stable", signed.digest)
    store.pull(store.resolve(channel), folder / "pulled", admit=lambda pulled: admit(pulled, policy))


_CERTIFIED = AUTHORITY.signer()

ATTACKS: Mapping[str, Attack] = {
    "signature: none": _signed(None, trusting_key(KEY)),
    "signature: none at the pull": _unsigned_at_pull,
    "signature: by an unknown key": _signed(new_key(), trusting_key(KEY)),
    "signature: by a certificate in place of the key": _signed(_CERTIFIED, trusting_key(KEY)),
    "signature: by a key in place of the certificate": _by_identity(KEY),
    "signature: by a certificate of another authority": _by_identity(Authority().signer()),
    "signature: by another identity of the authority": _by_identity(AUTHORITY.signer("intern@example.com")),
    "signature: by a certificate for servers": _by_identity(
        AUTHORITY.signer(usage=ExtendedKeyUsageOID.SERVER_AUTH)
    ),
    "signature: keyless, without the transparency log": _by_identity(
        AUTHORITY.signer(oidc_issuer="https://accounts.example.com")
    ),
    "signature: by an expired certificate": _by_identity(_CERTIFIED, days=60),
    "signature: by a revoked key": _signed(KEY, trusting_key(KEY, revoked=frozenset({KEY.fingerprint}))),
    "signature: by a revoked certificate": _by_identity(
        _CERTIFIED, revoked=frozenset({_CERTIFIED.certificates[0].fingerprint(hashes.SHA256()).hex()})
    ),
    "signature: of another bundle": _of_another_bundle(SIGNATURE),
    "signature: provenance of another bundle": _of_another_bundle(SLSA_PROVENANCE),
    "signature: bill of materials of another bundle": _of_another_bundle(ML_BOM),
    "signature: with another statement": _signed(KEY, trusting_key(KEY), _replaced_payload),
    "signature: of the files before they were changed": _sealed_again,
    "signature: removed between pull and load": _between_pull_and_load(
        lambda bundle: (bundle.path / SIGNATURE).unlink()
    ),
    "signature: replaced between pull and load": _between_pull_and_load(
        lambda bundle: sign_bundle(bundle, new_key())
    ),
    "policy: sealed into the bundle with the attacker's key": _policy_in_the_bundle,
    "policy: larger than allowed": _signed(KEY, trusting_key(KEY, max_bundle_bytes=1000)),
    "policy: revoked digest": lambda targets, folder: start(
        targets.fallback.path, policy=Policy(revoked=frozenset({targets.fallback.digest}))
    ),
    "channel: revoked bundle as the newest": _revoked_as_newest,
}

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The signature of a bundle, in the format of OpenSSF's model signing.

The signed statement lists ``manifest.json`` and each file that it lists, with their SHA-256. The signature is
``bundle.sig``, outside the digest, so signing keeps the digest. The statement lists no other file outside the
digest: the provenance and the bill of materials are signed by themselves.

From https://github.com/sigstore/model-transparency/blob/main/docs/model_signing_format.md.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tidegate.bundle import EXCLUDED_FROM_DIGEST, MANIFEST, SIGNATURE, Bundle
from tidegate.digest import sha256
from tidegate.errors import BundleError
from tidegate.trust.envelope import Envelope, parse_statement, statement
from tidegate.trust.policy import Policy
from tidegate.trust.signers import SignatureRejectedError, TrustedSigner

MODEL_SIGNATURE = "https://model_signing/signature/v1.0"
"""The predicate type of OpenSSF's model signing."""


def signature_statement(bundle: Bundle) -> bytes:
    """Return the statement that a signer of a bundle signs."""
    files = sorted(_signed_files(bundle).items())
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": sorted(EXCLUDED_FROM_DIGEST),
    }
    resources = [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in files]
    root = sha256(b"".join(bytes.fromhex(digest) for _, digest in files))
    predicate = {"serialization": serialization, "resources": resources}
    return statement(bundle.manifest.name, root, MODEL_SIGNATURE, predicate)


def verify_signature(bundle: Bundle, policy: Policy, now: datetime) -> str:
    """Verify that a trusted signer has signed a bundle.

    Args:
        bundle: The bundle. Its files are compared with its manifest elsewhere.
        policy: The policy, which has signers.
        now: The time of the check.

    Returns:
        The signer's name in the policy.

    Raises:
        BundleError: If the bundle has no signature, or one that no trusted signer has made for it.
    """
    signer, payload = verify_envelope(bundle, SIGNATURE, policy, now)
    where = f"{SIGNATURE} of {bundle.label}"
    if _read_files(payload, where) != _signed_files(bundle):
        raise BundleError(
            f"{where} is the signature of another bundle: expected one that lists the files of this bundle; "
            "sign this bundle."
        )
    return signer


def verify_envelope(bundle: Bundle, name: str, policy: Policy, now: datetime) -> tuple[str, bytes]:
    """Verify that a trusted signer has signed the statement in a file. Its content is not compared.

    Args:
        bundle: The bundle with the file.
        name: The file.
        policy: The policy, which has signers.
        now: The time of the check.

    Returns:
        The signer's name in the policy, and the statement's bytes.

    Raises:
        BundleError: If the file does not exist, or no trusted signer has signed it.
    """
    content = bundle.read_excluded(name)
    if content is None:
        names = " or ".join(signer.name for signer in policy.signers)
        raise BundleError(
            f"The bundle {bundle.label} is not signed: it has no {name}, and the policy requires a signature "
            f"by {names}; sign it with 'tidegate sign'."
        )
    envelope = Envelope.parse(content, f"{name} of {bundle.label}")
    signer, fingerprints = _find_signer(bundle, name, envelope, policy.signers, now)
    if found := fingerprints & policy.revoked:
        raise BundleError(
            f"{name} of {bundle.label} is signed by {signer.name} with a key or certificate that the policy "
            f"revokes, sha256:{min(found)}: sign the bundle again with a key that is valid."
        )
    return signer.name, envelope.payload


def _find_signer(
    bundle: Bundle, name: str, envelope: Envelope, signers: Sequence[TrustedSigner], now: datetime
) -> tuple[TrustedSigner, frozenset[str]]:
    reasons = []
    for signer in signers:
        try:
            return signer, signer.verify(envelope, now)
        except SignatureRejectedError as error:
            reasons.append(f"{signer.name}: {error}")
    raise BundleError(
        f"{name} of {bundle.label} is not signed by a trusted signer ({'; '.join(reasons)}): sign the bundle "
        "with a trusted key, or add its signer to the policy."
    )


def _signed_files(bundle: Bundle) -> dict[str, str]:
    """Return the SHA-256 of each file that a signature of the bundle lists."""
    return {MANIFEST: bundle.digest} | {name: entry.sha256 for name, entry in bundle.manifest.files.items()}


def _read_files(payload: bytes, where: str) -> dict[str, str]:
    """Return the SHA-256 of each file that a statement lists, without those outside of any digest."""
    document = parse_statement(payload, where)
    if document.get("predicateType") != MODEL_SIGNATURE:
        raise BundleError(f"{where} is not a signature of a model: expected the predicate {MODEL_SIGNATURE}.")
    try:
        resources: list[Any] = document["predicate"]["resources"]
        files = {resource["name"]: str(resource["digest"]) for resource in resources}
        algorithms = {resource["algorithm"] for resource in resources}
    except (KeyError, TypeError):
        raise BundleError(f"{where} lists no files: expected resources with name and digest.") from None
    if algorithms != {"sha256"} or len(files) != len(resources):
        raise BundleError(
            f"{where} does not list each file once with its SHA-256: sign again with sha256 and whole files."
        )
    return {name: digest for name, digest in files.items() if name not in EXCLUDED_FROM_DIGEST}

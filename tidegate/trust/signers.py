# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Trusted signers: the public keys and the certificate identities whose signatures a policy accepts.

A certificate is judged at the time of the check, or at the time that the deployer has fixed. The time of the
signature plays no part, because only its signer attests it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)
from cryptography.x509.verification import Policy as PathPolicy

from tidegate.trust.envelope import Envelope, signed_bytes
from tidegate.trust.signing_key import fingerprint, is_supported, key_hint, signature_algorithm

_OIDC_ISSUERS = frozenset(
    {x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")}
)
"""Extensions with the OIDC issuer, in the certificates of Sigstore's authority, Fulcio."""


class SignatureRejectedError(Exception):
    """A signature that a signer has not made; the message is the reason."""


@dataclass(frozen=True, slots=True)
class TrustedSigner(ABC):
    """A signer whose bundles may be deployed.

    Attributes:
        name: The name in messages.
    """

    name: str

    @abstractmethod
    def verify(self, envelope: Envelope, now: datetime) -> frozenset[str]:
        """Verify that this signer has signed an envelope.

        Args:
            envelope: The envelope.
            now: The time of the check.

        Returns:
            The fingerprints of the key and of the certificates, which a policy can revoke.

        Raises:
            SignatureRejectedError: If another signer has signed it, or none.
        """


@dataclass(frozen=True, slots=True)
class KeySigner(TrustedSigner):
    """A signer with a public key.

    Attributes:
        key: The key.
    """

    key: ec.EllipticCurvePublicKey

    @classmethod
    def from_pem(cls, name: str, pem: str) -> Self:
        """Read the public key in PEM.

        Raises:
            ValueError: If the text is not a public key on a supported curve.
        """
        try:
            key = load_pem_public_key(pem.encode())
        except Exception:  # the library raises several types
            raise ValueError("expected a public key in PEM, as 'openssl pkey -pubout' writes it") from None
        if not is_supported(key):
            raise ValueError("expected a public key on one of the curves P-256, P-384 and P-521")
        return cls(name, key)

    def verify(self, envelope: Envelope, now: datetime) -> frozenset[str]:
        """Verify that the key has signed an envelope."""
        if envelope.certificates:
            raise SignatureRejectedError("it has a certificate, expected a signature by a key alone")
        if envelope.key_hint is not None and envelope.key_hint != key_hint(self.key):
            raise SignatureRejectedError("it is by another key")
        _verify_signature(self.key, envelope)
        return frozenset({fingerprint(self.key)})


@dataclass(frozen=True, slots=True)
class CertificateSigner(TrustedSigner):
    """A signer whose certificate comes from the deployer's certificate authorities.

    Attributes:
        authorities: The certificates at the root.
        identity: The email address, URI or DNS name in the signer's certificate.
        valid_at: The time at which certificates are judged; None for the time of the check.
    """

    authorities: Sequence[x509.Certificate]
    identity: str
    valid_at: datetime | None = None

    @classmethod
    def from_pem(cls, name: str, pem: str, identity: str, valid_at: datetime | None = None) -> Self:
        """Read the certificates of the authorities in PEM.

        Args:
            name: The signer's name.
            pem: The certificates.
            identity: The signer's identity.
            valid_at: The time at which certificates are judged.

        Raises:
            ValueError: If the text holds no certificates.
        """
        try:
            authorities = x509.load_pem_x509_certificates(pem.encode())
        except (ValueError, x509.InvalidVersion):
            raise ValueError("expected certificates in PEM") from None
        return cls(name, authorities, identity, valid_at)

    def verify(self, envelope: Envelope, now: datetime) -> frozenset[str]:
        """Verify that a certificate of the identity has signed an envelope."""
        if not envelope.certificates:
            raise SignatureRejectedError("it has no certificate")
        try:
            leaf, *issuers = map(x509.load_der_x509_certificate, envelope.certificates)
        except (ValueError, x509.InvalidVersion):
            raise SignatureRejectedError("its certificates cannot be read") from None
        time = self.valid_at or now
        if not leaf.not_valid_before_utc <= time <= leaf.not_valid_after_utc:
            raise SignatureRejectedError(
                f"its certificate is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to "
                f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and not at {time:%Y-%m-%d %H:%M}"
            )
        builder = PolicyBuilder().store(Store(list(self.authorities))).time(time)
        builder = builder.extension_policies(ca_policy=_issuer_extensions(), ee_policy=_signer_extensions())
        try:
            verified = builder.build_client_verifier().verify(leaf, issuers)
        except VerificationError as error:
            reason = str(error).removeprefix("validation failed: ").partition(" (encountered")[0]
            raise SignatureRejectedError(
                f"its certificate does not come from this authority ({reason})"
            ) from None
        if not _is_for_signing_code(leaf):
            raise SignatureRejectedError("its certificate is not for code signing")
        if _is_keyless(leaf):
            raise SignatureRejectedError(
                "its certificate is one of Sigstore's keyless signing, which only its transparency log makes "
                "trustworthy; expected a certificate of the signer's own key"
            )
        identities = [str(name.value) for name in verified.subjects or ()]
        if self.identity not in identities:
            raise SignatureRejectedError(
                f"its certificate is that of {', '.join(identities)}, expected {self.identity}"
            )
        key = leaf.public_key()
        if not is_supported(key):
            raise SignatureRejectedError(
                "its certificate has a key on another curve than P-256, P-384 or P-521"
            )
        _verify_signature(key, envelope)
        certificates = {certificate.fingerprint(hashes.SHA256()).hex() for certificate in verified.chain}
        return frozenset({fingerprint(key), *certificates})


def _verify_signature(key: ec.EllipticCurvePublicKey, envelope: Envelope) -> None:
    try:
        key.verify(envelope.signature, signed_bytes(envelope.payload), signature_algorithm(key))
    except InvalidSignature:
        raise SignatureRejectedError("its content was altered after it was signed") from None


def _issuer_extensions() -> ExtensionPolicy:
    """Return the profile of issuers: that of the Web's, which may issue certificates for code signing."""
    return ExtensionPolicy.webpki_defaults_ca().may_be_present(
        x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _require_code_signing
    )


def _signer_extensions() -> ExtensionPolicy:
    """Return the profile of a signer's certificate: that of the Web's, for any extended key usage."""
    return (
        ExtensionPolicy.webpki_defaults_ee()
        .may_be_present(x509.AuthorityKeyIdentifier, Criticality.AGNOSTIC, None)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)
    )


def _require_code_signing(
    policy: PathPolicy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None
) -> None:
    """Raise ValueError, as the library expects, unless an issuer may issue certificates for code signing."""
    allowed = {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if usage is not None and not allowed & set(usage):
        raise ValueError("an issuer's certificate is not for code signing")


def _is_keyless(leaf: x509.Certificate) -> bool:
    """Return whether a certificate is for a key that exists for one signature, and names an OIDC issuer.

    Without the proof of the log, nothing says that the certificate was valid when the key signed. From
    https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md.
    """
    return any(extension.oid in _OIDC_ISSUERS for extension in leaf.extensions)


def _is_for_signing_code(certificate: x509.Certificate) -> bool:
    """Return whether a certificate's usages are code signing and, if it restricts its key, signatures."""
    extensions = certificate.extensions
    try:
        extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    try:
        signs = extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        signs = True
    return signs and ExtendedKeyUsageOID.CODE_SIGNING in extended

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Keys, certificates and policies of signers, made when a test needs them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tidegate.trust.policy import Policy
from tidegate.trust.signers import CertificateSigner, KeySigner
from tidegate.trust.signing_key import SigningKey

NOW = datetime(2026, 6, 1, tzinfo=UTC)
"""The time of checks in tests."""
IDENTITY = "training@example.com"


def new_key(curve: ec.EllipticCurve | None = None) -> SigningKey:
    """Return a new key, on P-256 by default."""
    return SigningKey(ec.generate_private_key(curve or ec.SECP256R1()))


def public_pem(key: SigningKey) -> str:
    """Return the public key in PEM."""
    return key.private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def write_private(key: SigningKey, file: Path, encryption: KeySerializationEncryption | None = None) -> Path:
    """Write the private key in PEM, and return the file."""
    form = PrivateFormat.PKCS8
    file.write_bytes(key.private_key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()))
    return file


class Authority:
    """A certificate authority with an intermediate one, and the signers to whom it gives certificates."""

    def __init__(self, not_before: datetime = NOW - timedelta(days=365)) -> None:
        self._not_before = not_before
        self._root_key, self._issuer_key = new_key(), new_key()
        self.root = self._issue("root", self._root_key, None, is_authority=True)
        self.issuer = self._issue("issuer", self._issuer_key, self.root, is_authority=True)

    @property
    def pem(self) -> str:
        """The root's certificate in PEM."""
        return self.root.public_bytes(Encoding.PEM).decode()

    def signer(
        self,
        identity: str = IDENTITY,
        days: int = 30,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
        oidc_issuer: str | None = None,
    ) -> SigningKey:
        """Return a key with a certificate that is valid for some days from a day before ``NOW``.

        Args:
            identity: The email address in the certificate.
            days: The number of days.
            usage: The extended key usage.
            oidc_issuer: The OIDC issuer in a certificate for keyless signing.
        """
        key = new_key()
        start = NOW - timedelta(days=1)
        leaf = self._issue(
            *("signer", key, self.issuer),
            identity=identity,
            usage=usage,
            start=start,
            days=days,
            oidc_issuer=oidc_issuer,
        )
        return SigningKey(key.private_key, (leaf, self.issuer))

    def _issue(
        self,
        name: str,
        key: SigningKey,
        issuer: x509.Certificate | None,
        *,
        is_authority: bool = False,
        identity: str | None = None,
        usage: x509.ObjectIdentifier | None = None,
        start: datetime | None = None,
        days: int = 3650,
        oidc_issuer: str | None = None,
    ) -> x509.Certificate:
        start = start or self._not_before
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signing_key = self._root_key if issuer is None or name == "issuer" else self._issuer_key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.subject)
            .public_key(key.private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(_key_usage(is_authority), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.private_key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.private_key.public_key()), critical=False
            )
        )
        if identity is not None:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.RFC822Name(identity)]), critical=False
            )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if oidc_issuer is not None:
            fulcio = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
            builder = builder.add_extension(
                x509.UnrecognizedExtension(fulcio, oidc_issuer.encode()), critical=False
            )
        return builder.sign(signing_key.private_key, hashes.SHA256())


def _key_usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def trusting_key(key: SigningKey, name: str = "training", **fields: Any) -> Policy:
    """Return the policy that requires a signature by this key."""
    return Policy(signers=(KeySigner(name, key.private_key.public_key()),), **fields)


def trusting_identity(
    authority: Authority, identity: str = IDENTITY, valid_at: datetime | None = None, **fields: Any
) -> Policy:
    """Return the policy that requires a signature by an identity of this authority.

    Args:
        authority: The authority.
        identity: The identity.
        valid_at: The time at which certificates are judged.
        **fields: The policy's other fields.
    """
    return Policy(signers=(CertificateSigner("training", (authority.root,), identity, valid_at),), **fields)


def write_policy(file: Path, **fields: Any) -> Path:
    """Write ``policy.yaml``, and return the file."""
    file.write_text(yaml.safe_dump(fields))
    return file

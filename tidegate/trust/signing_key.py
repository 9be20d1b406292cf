# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The private key that signs bundles, alone or with a certificate.

Keys are on the elliptic curves that OpenSSF's model signing supports: P-256, P-384 and P-521. This module
stores no key and prints none.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeGuard

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tidegate.digest import sha256
from tidegate.errors import ConfigurationError
from tidegate.trust.envelope import Envelope, signed_bytes

PASSWORD_VARIABLE = "TIDEGATE_SIGNING_KEY_PASSWORD"
"""The environment variable with the password of an encrypted private key."""

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, and the certificates of its public key.

    Attributes:
        private_key: The key.
        certificates: The certificate of the key and its issuers; empty for a key alone.
    """

    private_key: ec.EllipticCurvePrivateKey
    certificates: Sequence[x509.Certificate] = ()

    @classmethod
    def read(cls, key: Path, certificates: Path | None = None) -> Self:
        """Read a private key in PEM, and its certificates in PEM, the signer's first.

        Raises:
            ConfigurationError: If a file cannot be read, the key has another curve, or the certificate
                belongs to another key.
        """
        password = os.environ.get(PASSWORD_VARIABLE)
        try:
            private = load_pem_private_key(_read(key), password.encode() if password else None)
        except TypeError:
            expected = "is not encrypted: unset" if password else "is encrypted: set"
            raise ConfigurationError(f"The private key {key} {expected} {PASSWORD_VARIABLE}.") from None
        except (ValueError, UnsupportedAlgorithm):
            raise ConfigurationError(
                f"{key} is not a private key in PEM, or {PASSWORD_VARIABLE} is not its password: create one "
                "with 'openssl ecparam -name prime256v1 -genkey -noout -out key.pem'."
            ) from None
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name not in _HASHES:
            raise ConfigurationError(f"{key} is not a key on one of the curves P-256, P-384 and P-521.")
        if certificates is None:
            return cls(private)
        try:
            chain = x509.load_pem_x509_certificates(_read(certificates))
        except (ValueError, x509.InvalidVersion):
            raise ConfigurationError(f"{certificates} holds no certificates in PEM.") from None
        if chain[0].public_key() != private.public_key():
            raise ConfigurationError(
                f"The first certificate of {certificates} belongs to another key than {key}: write the "
                "signer's certificate first, then its issuers."
            )
        return cls(private, chain)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the public key."""
        return fingerprint(self.private_key.public_key())

    def sign(self, payload: bytes) -> Envelope:
        """Sign an in-toto statement."""
        public = self.private_key.public_key()
        return Envelope(
            payload,
            self.private_key.sign(signed_bytes(payload), signature_algorithm(public)),
            tuple(certificate.public_bytes(Encoding.DER) for certificate in self.certificates),
            None if self.certificates else key_hint(public),
        )


def signature_algorithm(key: ec.EllipticCurvePublicKey) -> ec.ECDSA:
    """Return the algorithm for a key: its curve determines the hash."""
    return ec.ECDSA(_HASHES[key.curve.name])


def is_supported(key: object) -> TypeGuard[ec.EllipticCurvePublicKey]:
    """Return whether a public key is on one of the supported curves."""
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASHES


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key in DER.

    ``openssl pkey -pubin -in key.pub -outform DER | sha256sum`` prints it, too.
    """
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def key_hint(key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key in PEM, which OpenSSF's model signing writes next to a signature."""
    return sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from None

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Envelopes: signed in-toto statements in the form of a Sigstore bundle.

A DSSE envelope holds the statement and one signature, and the Sigstore bundle around it the certificates or
the key's hint. OpenSSF's model signing writes and reads this form. This module encodes and parses; it
verifies no signature.

From https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md and
https://github.com/sigstore/protobuf-specs/blob/v0.5.0/protos/sigstore_bundle.proto.
"""

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from tidegate.digest import canonical_json
from tidegate.errors import BundleError, first_problem

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A statement with its signature.

    Attributes:
        payload: The statement's bytes.
        signature: The signature of :func:`signed_bytes`.
        certificates: The signer's certificate and its issuers in DER; empty if the signer has a key alone.
        key_hint: The SHA-256 of the key's PEM, without certificates; None in signatures of old tools.
    """

    payload: bytes
    signature: bytes
    certificates: tuple[bytes, ...] = ()
    key_hint: str | None = None

    def to_bytes(self) -> bytes:
        """Serialise the envelope as a Sigstore bundle."""
        material: dict[str, Any] = {"tlogEntries": []}
        if self.certificates:
            chain = [{"rawBytes": b64encode(certificate).decode()} for certificate in self.certificates]
            material["x509CertificateChain"] = {"certificates": chain}
        else:
            material["publicKey"] = {"hint": self.key_hint}
        return canonical_json(
            {
                "mediaType": MEDIA_TYPE,
                "verificationMaterial": material,
                "dsseEnvelope": {
                    "payload": b64encode(self.payload).decode(),
                    "payloadType": PAYLOAD_TYPE,
                    "signatures": [{"sig": b64encode(self.signature).decode(), "keyid": ""}],
                },
            }
        )

    @classmethod
    def parse(cls, content: bytes, where: str) -> "Envelope":
        """Parse a Sigstore bundle.

        Args:
            content: The bytes.
            where: Their place, for error messages.

        Raises:
            BundleError: If they are not a Sigstore bundle with one signed statement.
        """
        try:
            document = _SigstoreBundle.model_validate_json(content)
        except ValidationError as error:
            raise BundleError(
                f"{where} is not a Sigstore bundle with a signed statement: {first_problem(error)}; sign the "
                "bundle again."
            ) from None
        envelope, material = document.dsse_envelope, document.verification_material
        certificates = [] if material.certificate is None else [material.certificate]
        if material.x509_certificate_chain is not None:
            certificates = material.x509_certificate_chain.certificates
        return cls(
            envelope.payload,
            envelope.signatures[0].sig,
            tuple(certificate.raw_bytes for certificate in certificates),
            None if material.public_key is None else material.public_key.hint,
        )


def signed_bytes(payload: bytes) -> bytes:
    """Return the bytes that a signature is about: DSSE's pre-authentication encoding of a statement.

    >>> signed_bytes(b"{}")
    b'DSSEv1 28 application/vnd.in-toto+json 2 {}'
    """
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def statement(subject: str, sha256: str, predicate_type: str, predicate: Any) -> bytes:
    """Serialise an in-toto statement.

    Args:
        subject: The name of the object that it is about.
        sha256: The object's SHA-256.
        predicate_type: The URI of the predicate's type.
        predicate: The predicate as JSON values.
    """
    return canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": subject, "digest": {"sha256": sha256}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def parse_statement(payload: bytes, where: str) -> dict[str, Any]:
    """Parse an in-toto statement.

    Raises:
        BundleError: If the payload is not a statement.
    """
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("_type") != STATEMENT_TYPE:
        raise BundleError(f"{where} does not sign an in-toto statement of version 1; sign again.")
    return document


class _Part(BaseModel):
    # Sigstore adds fields in minor versions; those that a verification needs are here.
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class _Certificate(_Part):
    raw_bytes: Base64Bytes


class _Chain(_Part):
    certificates: Annotated[list[_Certificate], Field(min_length=1, max_length=8)]


class _PublicKey(_Part):
    hint: str | None = None


class _Material(_Part):
    public_key: _PublicKey | None = None
    certificate: _Certificate | None = None
    x509_certificate_chain: _Chain | None = None


class _Signature(_Part):
    sig: Base64Bytes


class _DsseEnvelope(_Part):
    payload: Base64Bytes
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=1)]


class _SigstoreBundle(_Part):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: _Material
    dsse_envelope: _DsseEnvelope

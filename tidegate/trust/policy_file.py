# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The policy as a file, ``policy.yaml``, which a deployer writes and mounts.

Keys and certificates are in the file itself, so that one ConfigMap holds the whole policy. The file adds
types and pickles to the default policy; it cannot remove one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from tidegate.errors import ConfigurationError, FieldError
from tidegate.settings import Document
from tidegate.trust.policy import Policy

if TYPE_CHECKING:
    from tidegate.trust.signers import TrustedSigner


class _PolicyModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SignerOptions(_PolicyModel):
    """A trusted signer: a public key, or an identity in certificates of the deployer's authorities."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """The name in messages and in the server's status."""
    public_key: str | None = None
    """The public key in PEM."""
    certificate_authorities: str | None = None
    """The root certificates in PEM."""
    identity: str | None = None
    """The email address, URI or DNS name in the signer's certificate."""
    valid_at: AwareDatetime | None = None
    """The time at which certificates are judged; by default the time of the check."""

    @model_validator(mode="after")
    def _key_or_certificate(self) -> Self:
        if (self.public_key is None) == (self.certificate_authorities is None):
            raise ValueError("expected either 'public_key' or 'certificate_authorities' with 'identity'")
        if (self.certificate_authorities is None) != (self.identity is None):
            raise FieldError(("identity",), "expected with 'certificate_authorities', and only there")
        if self.valid_at is not None and self.public_key is not None:
            raise FieldError(
                ("valid_at",), "expected with 'certificate_authorities' only: a key has no expiry"
            )
        return self


class PolicyFile(_PolicyModel):
    """The fields of ``policy.yaml``."""

    signers: Annotated[tuple[SignerOptions, ...], Field(min_length=1)] | None = None
    """The trusted signers; without the field, no signature is required."""
    revoked: tuple[str, ...] = ()
    """SHA-256 of bundles, public keys and certificates that are trusted no longer."""
    max_bundle_bytes: Annotated[int, Field(ge=1)] | None = None
    """The largest size of a bundle's files together."""
    trusted_types: tuple[str, ...] = ()
    """Full names of types that may be built, in addition to the default policy's."""
    allowed_joblib_digests: tuple[str, ...] = ()
    """Digests of bundles whose pickle may be loaded."""

    @field_validator("signers", "max_bundle_bytes", mode="before")
    @classmethod
    def _given(cls, value: object) -> object:
        """Reject a field without a value, which would mean the same as no field: no signature or no limit."""
        if value is None:
            raise ValueError("expected a value; without this requirement, remove the field")
        return value


def read_policy(file: Path) -> Policy:
    """Read a policy from its file.

    Raises:
        ConfigurationError: If the file cannot be read or a field is not valid; the message has its line.
    """
    document = Document.read(file)
    options = document.parse_as(PolicyFile)
    with document.locate_field_errors():
        signers = _read_signers(options.signers or ())
    try:
        policy = Policy(
            signers=signers,
            revoked=frozenset(options.revoked),
            max_bundle_bytes=options.max_bundle_bytes,
        )
        return policy.adding(options.trusted_types, options.allowed_joblib_digests)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from None


def _read_signers(options: Sequence[SignerOptions]) -> tuple["TrustedSigner", ...]:
    if not options:
        return ()
    from tidegate.trust.signers import CertificateSigner, KeySigner

    signers: list[TrustedSigner] = []
    for number, signer in enumerate(options):
        field = "public_key"
        try:
            if signer.public_key is not None:
                signers.append(KeySigner.from_pem(signer.name, signer.public_key))
            else:
                field = "certificate_authorities"
                assert signer.certificate_authorities is not None
                assert signer.identity is not None
                signers.append(
                    CertificateSigner.from_pem(
                        signer.name, signer.certificate_authorities, signer.identity, signer.valid_at
                    )
                )
        except ValueError as error:
            raise FieldError(("signers", number, field), str(error)) from None
    return tuple(signers)

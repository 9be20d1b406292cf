# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Options of several commands: the key that signs a bundle, and the deployer's policy.

Signing, and a policy with signers, need the package cryptography, which is imported only then.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tidegate.errors import ConfigurationError
from tidegate.trust.policy import Policy

if TYPE_CHECKING:
    from tidegate.trust.signing_key import SigningKey

SignOption = Annotated[
    Path | None,
    typer.Option(
        "--sign",
        envvar="TIDEGATE_SIGNING_KEY",
        help="Sign the bundle with this private key in PEM.",
        metavar="KEY",
    ),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        envvar="TIDEGATE_SIGNING_CERTIFICATE",
        help="The key's certificate in PEM, then those of its issuers.",
    ),
]
T = TypeVar("T")

POLICY_VARIABLE = "TIDEGATE_POLICY"


def reject_empty(variable: str, value: str) -> Callable[[T], T]:
    """Return the callback of an option that rejects an empty variable, which would mean the same as none.

    Args:
        variable: The environment variable.
        value: What it is expected to hold.
    """

    def require(given: T) -> T:
        if given is None and os.environ.get(variable) == "":
            raise ConfigurationError(f"{variable} is empty: set it to {value}, or unset it to use none.")
        return given

    return require


PolicyOption = Annotated[
    Path | None,
    typer.Option(
        envvar=POLICY_VARIABLE,
        callback=reject_empty(POLICY_VARIABLE, "the policy's file"),
        help="The deployer's policy.yaml: trusted signers, revoked digests, size, types and pickles.",
    ),
]
TrustedTypeOption = Annotated[
    list[str] | None,
    typer.Option(
        envvar="TIDEGATE_TRUSTED_TYPE",
        help="The full name of an additional type that may be built; repeatable.",
    ),
]
JoblibDigestOption = Annotated[
    list[str] | None,
    typer.Option(
        envvar="TIDEGATE_ALLOW_JOBLIB_DIGEST",
        help="The digest of a bundle whose pickle, model.joblib, may be loaded; repeatable.",
    ),
]


def read_signing_key(key: Path | None, certificate: Path | None) -> "SigningKey | None":
    """Read the key of ``--sign``; None without it.

    Raises:
        ConfigurationError: If a file is not valid, or there is a certificate without a key.
    """
    if key is None:
        if certificate is not None:
            raise ConfigurationError(f"--certificate {certificate} belongs to a key: add --sign KEY.")
        return None
    from tidegate.trust.signing_key import SigningKey

    return SigningKey.read(key, certificate)


def combine_policy(
    policy: Path | None, trusted_types: list[str] | None = None, joblib_digests: list[str] | None = None
) -> Policy:
    """Return the policy of the file with what the other options add.

    Args:
        policy: The file of ``--policy``; None for the default policy.
        trusted_types: The values of ``--trusted-type``.
        joblib_digests: The values of ``--allow-joblib-digest``.

    Raises:
        ConfigurationError: If the file or an option is not valid.
    """
    deployed = Policy()
    if policy is not None:
        from tidegate.trust.policy_file import read_policy

        deployed = read_policy(policy)
    return deployed.adding(trusted_types or (), joblib_digests or ())

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Admission: whether the deployer's policy accepts a bundle, before any of its files is parsed.

``tidegate pull`` decides before it downloads the files that the manifest lists, and the server decides again
before it builds a model. The decision needs the manifest and the signature, both already bound to the digest.
Types that a pipeline is built from are decided where it is built, in :mod:`tidegate.trust.archive`.
"""

from datetime import UTC, datetime

from tidegate.bundle import JOBLIB, Bundle
from tidegate.errors import BundleError
from tidegate.trust.policy import Policy


def admit(bundle: Bundle, policy: Policy, now: datetime | None = None) -> str | None:
    """Check a bundle against the deployer's policy.

    Args:
        bundle: The bundle. Its files are compared with its manifest elsewhere.
        policy: The policy.
        now: The time at which certificates are judged; by default that of the call.

    Returns:
        The name of its signer in the policy; None if the policy requires no signature.

    Raises:
        BundleError: If the policy rejects the bundle.
    """
    if bundle.digest in policy.revoked:
        raise BundleError(
            f"The bundle {bundle.label} is revoked by the policy: deploy another one, or remove its digest "
            "from 'revoked'."
        )
    size = sum(entry.size for entry in bundle.manifest.files.values())
    if policy.max_bundle_bytes is not None and size > policy.max_bundle_bytes:
        raise BundleError(
            f"The bundle {bundle.label} has {size} bytes, and the policy allows {policy.max_bundle_bytes}: "
            "deploy a smaller one, or raise the policy's 'max_bundle_bytes'."
        )
    if JOBLIB in bundle and bundle.digest not in policy.allowed_joblib_digests:
        raise BundleError(
            f"The bundle {bundle.label} contains {JOBLIB}, a pickle, which can run any code, and the policy "
            "does not allow it for this digest; train without joblib, or allow the digest with "
            "--allow-joblib-digest."
        )
    if not policy.signers:
        return None
    from tidegate.trust.signature import verify_signature

    return verify_signature(bundle, policy, now or datetime.now(UTC))

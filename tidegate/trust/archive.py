# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Builds pipelines from skops archives, with every check before anything is built.

Training builds each pipeline here before it is sealed, so no bundle leaves training that a server with the
default policy rejects.
"""

from io import BytesIO
from typing import Any
from zipfile import ZipFile

from tidegate.bundle import SKOPS
from tidegate.errors import BundleError
from tidegate.trust.policy import Policy


def build_pipeline(content: bytes, policy: Policy) -> Any:
    """Build the pipeline of a skops archive, after auditing its types and checking its trees.

    Args:
        content: The archive's bytes.
        policy: The deployer's policy.

    Raises:
        BundleError: If the archive is damaged, contains a type that the policy does not trust, or a tree
            that is out of bounds.
    """
    from skops.io._audit import audit_tree, get_tree
    from skops.io._utils import read_schema
    from skops.io.exceptions import UntrustedTypesFoundException

    from tidegate.trust.tree_bounds import check_tree_bounds

    trusted = sorted(policy.trusted_types)
    try:
        with ZipFile(BytesIO(content)) as archive:
            schema, context = read_schema(archive)
            root = get_tree(schema, context, trusted=trusted)
            audit_tree(root, trusted=trusted)
            check_tree_bounds(root)
            return root.construct()
    except UntrustedTypesFoundException:
        untrusted = ", ".join(sorted(root.get_unsafe_set()))
        raise BundleError(
            f"{SKOPS} contains types that the policy does not trust: {untrusted}; if you trust them, "
            "add them with --trusted-type."
        ) from None
    except BundleError:
        raise
    except Exception as error:  # a crafted archive can make any part of skops, zipfile or scikit-learn fail
        raise BundleError(f"{SKOPS} cannot be built: {type(error).__name__}: {error}.") from error

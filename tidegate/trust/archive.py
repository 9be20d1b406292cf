# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Builds pipelines from skops archives: checks the description, builds, and checks what was built.

Training builds each pipeline here before it is sealed, so no bundle leaves training that a server with the
default policy rejects.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Any
from zipfile import ZipFile

from tidegate.bundle import SKOPS
from tidegate.errors import BundleError
from tidegate.trust.policy import TRUSTED_TYPES, Policy


def build_pipeline(content: bytes, policy: Policy) -> Any:
    """Build the pipeline of a skops archive, between a check of its description and one of its objects.

    Args:
        content: The archive's bytes.
        policy: The deployer's policy.

    Raises:
        BundleError: If the archive is damaged, its parts do not fit each other, it contains a type that the
            policy does not trust, or an array that compiled code would leave.
    """
    from skops.io._audit import audit_tree, get_tree
    from skops.io._protocol import PROTOCOL
    from skops.io._utils import read_schema
    from skops.io.exceptions import UntrustedTypesFoundException

    from tidegate.trust.objects import check_objects
    from tidegate.trust.schema import check_archive_form

    trusted = sorted(policy.trusted_types)
    try:
        with ZipFile(BytesIO(content)) as archive:
            check_archive_form(archive, PROTOCOL, policy.trusted_types - TRUSTED_TYPES)
            schema, context = read_schema(archive)
            root = get_tree(schema, context, trusted=trusted)
            audit_tree(root, trusted=trusted)
            _check_constructors(root)
            pipeline = root.construct()
        check_objects(pipeline)
        return pipeline
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


def _check_constructors(root: Any) -> None:
    """Check the arguments of each tree's constructor, which are the only ones that compiled code trusts.

    The nodes keep what they construct, so each tree receives the same arguments later.
    """
    from skops.io._sklearn import TreeNode

    from tidegate.trust.tree_bounds import check_tree_arguments

    visited: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, TreeNode):
            check_tree_arguments(node.args.construct(), node.attrs.construct())
        pending.extend(_children(node))


def _children(node: Any) -> Iterator[Any]:
    for child in getattr(node, "children", {}).values():
        if isinstance(child, list | tuple):
            yield from child
        elif isinstance(child, dict):
            yield from child.values()
        elif hasattr(child, "children"):
            yield child

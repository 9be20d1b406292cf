# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Rejections of objects by the API server: whether a retry can succeed, and how to fix the cause.

Controllers such as KServe's and the ReplicaSet's copy the API server's message into a condition and retry.
They record no code, so the message is all there is. Its texts are those of Kubernetes' admission plugins. A
rejection with another text counts as one that a retry can overcome, because the wrong exit code would end a
deployment that still succeeds.
"""

import re
from dataclasses import dataclass

from kubernetes.utils import parse_quantity

_OBJECT = re.compile(r'^pods "[^"]*" is forbidden: ')
"""The start of a pod's rejection. The pod's name is a new one at each retry."""
_QUOTA = re.compile(r"exceeded quota: \S+, requested: (\S+), used: \S+, limited: (\S+)")

_FIXES = (
    ("error looking up service account", "create the account, or set serviceAccount.create to true"),
    ("no PriorityClass with name", "create the class, or set priorityClassName to another"),
    ("violates PodSecurity", "remove the fields that the namespace's Pod Security Standard forbids"),
    ("failed quota: ", "set the resources that the namespace's quota requires"),
    ("usage per ", "set resources to amounts within the namespace's LimitRange"),
    ("denied the request", "change the values to comply with the cluster's policy"),
    (" cannot create resource ", "grant that permission to the account that the message names"),
    (" is invalid: ", "correct the field that the message names"),
    (" is forbidden: ", "change the values or the namespace as the message says"),
)
"""Parts of the messages of rejections that a retry repeats, and the fixes."""
_RETRIED = ("exceeded quota", "status unknown for quota", "failed calling webhook")
"""Parts of the messages of rejections that end without a change of the release."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejection of an object."""

    message: str
    """The API server's message, without the object's name if it is a pod."""
    fix: str | None
    """The fix in the imperative; None if a retry can succeed without it."""

    @classmethod
    def parse(cls, message: str) -> "Rejection":
        """Parse the API server's message.

        >>> Rejection.parse('pods "iris-1" is forbidden: no PriorityClass with name high was found').message
        'no PriorityClass with name high was found'
        """
        return cls(_OBJECT.sub("", message).rstrip("."), _fix(message))


def _fix(message: str) -> str | None:
    if (quota := _QUOTA.search(message)) and _exceeds(*map(_amounts, quota.groups())):
        return "raise the quota, or request less"
    if any(part in message for part in _RETRIED):
        return None
    return next((fix for part, fix in _FIXES if part in message), None)


def _amounts(listed: str) -> dict[str, str]:
    """Parse amounts by resource: ``limits.cpu=1,pods=2``."""
    return dict(amount.split("=", 1) for amount in listed.split(",") if "=" in amount)


def _exceeds(requested: dict[str, str], limited: dict[str, str]) -> bool:
    """Return whether one pod alone exceeds the quota."""
    return any(
        parse_quantity(amount) > parse_quantity(limited[resource])
        for resource, amount in requested.items()
        if resource in limited
    )

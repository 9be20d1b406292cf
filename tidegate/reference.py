# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""References: the texts that name a bundle in a store.

``<store>/<name>@sha256:<digest>`` always names the same bundle. ``<store>/<name>:<channel>`` names the bundle
that a channel currently points to, and ``mlflow://models/<name>@<alias>`` that of a registered model. This
module parses and prints references; it never opens a store.
"""

import re
from dataclasses import dataclass
from typing import Self

from tidegate.contract import NAME_PATTERN
from tidegate.digest import is_sha256
from tidegate.errors import ConfigurationError

SCHEMES = ("file", "s3", "gs", "az")
"""The URI schemes of stores."""

REGISTRY_PREFIX = "mlflow://models/"
"""The beginning of a registered model's address. It has a reference to a bundle, and no bundle."""

_NAME = re.compile(NAME_PATTERN)
_CHANNEL = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to one bundle by its digest."""

    store: str
    name: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``<store>/<name>@sha256:<digest>``.

        >>> Reference.parse("s3://models/team/iris@sha256:" + "0" * 64).name
        'iris'

        Raises:
            ConfigurationError: If the text does not have this form.
        """
        path, separator, digest = text.rpartition("@sha256:")
        if not separator or not is_sha256(digest):
            raise ConfigurationError(
                f"'{text}' is not a reference to a bundle: expected <store>/<name>@sha256:<64 hex digits>."
            )
        store, name = _split_name(path, text)
        return cls(store, name, digest)

    def __str__(self) -> str:
        return f"{self.store}/{self.name}@sha256:{self.digest}"


@dataclass(frozen=True, slots=True)
class ChannelReference:
    """A reference to the bundle that a channel points to when the reference is resolved.

    Raises:
        ConfigurationError: If the channel's name is not valid.
    """

    store: str
    name: str
    channel: str

    def __post_init__(self) -> None:
        if not _CHANNEL.fullmatch(self.channel):
            raise ConfigurationError(
                f"'{self.channel}' is not a channel name: expected at most 52 characters of a-z, 0-9 and "
                "'-', such as stable."
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``<store>/<name>:<channel>``.

        >>> ChannelReference.parse("s3://models/team/iris:stable").channel
        'stable'

        Raises:
            ConfigurationError: If the text does not have this form.
        """
        path, separator, channel = text.rpartition(":")
        if not separator or not _CHANNEL.fullmatch(channel):
            raise ConfigurationError(
                f"'{text}' is not a reference to a channel: expected <store>/<name>:<channel>."
            )
        store, name = _split_name(path, text)
        return cls(store, name, channel)

    def __str__(self) -> str:
        return f"{self.store}/{self.name}:{self.channel}"


def parse_reference(text: str) -> Reference | ChannelReference:
    """Parse a reference of either form.

    Raises:
        ConfigurationError: If the text has neither form, or is that of a registered model.
    """
    if is_registered(text):
        raise ConfigurationError(
            f"'{text}' is a registered model, and a reference in a store is expected here: use the one that "
            "tidegate pull prints."
        )
    # Only the part after the last slash decides, because a store's address may contain '@sha256:' too.
    name = text.rpartition("/")[2]
    return Reference.parse(text) if "@sha256:" in name else ChannelReference.parse(text)


def looks_like_reference(text: str) -> bool:
    """Return whether a text is a reference into a store or to a registered model, not a local path."""
    return is_registered(text) or _is_in_store(text)


def is_registered(text: str) -> bool:
    """Return whether a text is the address of a registered model."""
    return text.startswith("mlflow://")


def _is_in_store(text: str) -> bool:
    return text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def _split_name(path: str, text: str) -> tuple[str, str]:
    """Split ``<store>/<name>``; the text is the whole reference, for the error message."""
    store, _, name = path.rpartition("/")
    if not _is_in_store(store + "/") or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"'{text}' does not name a bundle in a store: expected <store>/<name>, the store beginning with "
            f"one of {', '.join(f'{scheme}://' for scheme in SCHEMES)} and the name of a-z, 0-9 and '-'."
        )
    return store, name

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""References: how a person or a chart names a bundle in a store.

``<store>/<name>@sha256:<digest>`` names one bundle for ever; ``<store>/<name>:<channel>`` names the one that
a channel points to now. Only parsing and printing: whether the bundle exists is the store's answer.
"""

import re
from dataclasses import dataclass
from typing import Self

from tidegate.contract import NAME_PATTERN
from tidegate.digest import is_sha256
from tidegate.errors import ConfigurationError

SCHEMES = ("file", "s3", "gs", "az")

_NAME = re.compile(NAME_PATTERN)
_CHANNEL = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class Reference:
    """One bundle in one store, for ever."""

    store: str
    name: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<store>/<name>@sha256:<digest>``.

        >>> Reference.parse("s3://models/team/iris@sha256:" + "0" * 64).name
        'iris'

        Raises:
            ConfigurationError: It is no such reference.
        """
        path, separator, digest = text.rpartition("@sha256:")
        if not separator or not is_sha256(digest):
            raise ConfigurationError(
                f"'{text}' is no reference to a bundle: expected <store>/<name>@sha256:<64 hex digits>."
            )
        store, name = _split(path, text)
        return cls(store, name, digest)

    def __str__(self) -> str:
        return f"{self.store}/{self.name}@sha256:{self.digest}"


@dataclass(frozen=True, slots=True)
class ChannelReference:
    """Whatever bundle a channel points to when it is asked.

    Raises:
        ConfigurationError: A channel cannot be called so.
    """

    store: str
    name: str
    channel: str

    def __post_init__(self) -> None:
        if not _CHANNEL.fullmatch(self.channel):
            raise ConfigurationError(
                f"'{self.channel}' is no name of a channel: expected at most 52 characters of a-z, 0-9 and "
                "'-', such as stable."
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<store>/<name>:<channel>``.

        Raises:
            ConfigurationError: It is no such reference.
        """
        path, separator, channel = text.rpartition(":")
        if not separator or not _CHANNEL.fullmatch(channel):
            raise ConfigurationError(
                f"'{text}' is no reference to a channel: expected <store>/<name>:<channel>."
            )
        store, name = _split(path, text)
        return cls(store, name, channel)

    def __str__(self) -> str:
        return f"{self.store}/{self.name}:{self.channel}"


def parse_reference(text: str) -> Reference | ChannelReference:
    """Read either form.

    Raises:
        ConfigurationError: It is neither.
    """
    # Only behind the last slash: a store's own address may hold any of these characters.
    named = text.rpartition("/")[2]
    return Reference.parse(text) if "@sha256:" in named else ChannelReference.parse(text)


def looks_like_reference(text: str) -> bool:
    """Whether the text is meant as a reference into a store and not as a path."""
    return text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def _split(path: str, text: str) -> tuple[str, str]:
    store, _, name = path.rpartition("/")
    if not looks_like_reference(store + "/") or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"'{text}' does not name a bundle in a store: expected <store>/<name>, the store beginning with "
            f"one of {', '.join(f'{scheme}://' for scheme in SCHEMES)} and the name of a-z, 0-9 and '-'."
        )
    return store, name

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The predecessor: the bundle in a store with which a new model, or its data, is compared.

The first model of a name has no predecessor. A misspelled channel must not look like a first model, because
the comparison would pass without a word.
"""

from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator

from tidegate.errors import ConfigurationError, FieldError, Location, NotFoundError
from tidegate.reference import Reference, parse_reference
from tidegate.store import Store


def _validate_reference(reference: str) -> str:
    try:
        parse_reference(reference)
    except ConfigurationError as error:
        raise ValueError(str(error).rstrip(".")) from None
    return reference


PredecessorReference = Annotated[str, AfterValidator(_validate_reference)]
"""``<store>/<name>:<channel>``, or a digest instead of the channel."""


def find_predecessor(text: str, name: str, location: Location) -> Reference | None:
    """Return the bundle that a configuration names as a predecessor.

    Args:
        text: The reference.
        name: The name of the new model.
        location: The field that has the reference.

    Returns:
        The bundle; None if the store has no channel of the new model yet.

    Raises:
        FieldError: If the channel does not exist, and the store has others of the model, or the model is
            another one.
        StoreError: If the store is unreachable or fails.
    """
    reference = parse_reference(text)
    if isinstance(reference, Reference):
        return reference
    store = Store(reference.store)
    channels: dict[str, list[str]] = {}
    if not _is_new_folder(store.uri):
        try:
            return store.resolve(reference)
        except NotFoundError:
            channels = store.channels(reference.name)
    if channels:
        raise FieldError(
            location,
            f"{store.uri} has no channel '{reference.channel}' of '{reference.name}', expected one of "
            f"{', '.join(channels)}: correct the name, or leave '{'.'.join(map(str, location[:-1]))}' out "
            "until the channel has its first model",
        )
    if reference.name != name:
        raise FieldError(
            location,
            f"{store.uri} has no channel of '{reference.name}', and only the new model, '{name}', may have "
            "none yet: correct the name",
        )
    return None


def _is_new_folder(uri: str) -> bool:
    """Return whether a store is a folder that the first push creates."""
    return uri.startswith("file://") and not Path(unquote(uri.removeprefix("file://"))).exists()

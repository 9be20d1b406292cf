# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from tests.support.bundles import write_bundle
from tidegate.errors import FieldError
from tidegate.reference import Reference
from tidegate.store import Store
from tidegate_training.predecessor import find_predecessor

LOCATION = ("champion", "reference")


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    """Return the bundle in the channel ``stable`` of a store."""
    store = Store((tmp_path / "a store").as_uri())
    reference = store.push(write_bundle(tmp_path / "bundle"))
    store.move_channel(reference.name, "stable", reference.digest)
    return reference


def test_find_predecessor_of_a_channel_is_its_bundle(reference: Reference) -> None:
    text = f"{reference.store}/{reference.name}:stable"
    assert find_predecessor(text, "another", LOCATION) == reference
    assert find_predecessor(str(reference), "another", LOCATION) == reference


@pytest.mark.parametrize("store", ["a store", "a new folder"])
def test_find_predecessor_of_the_first_model_is_none(
    store: str, reference: Reference, tmp_path: Path
) -> None:
    assert find_predecessor(f"{(tmp_path / store).as_uri()}/new:stable", "new", LOCATION) is None


def test_find_predecessor_of_a_misspelled_channel_names_the_channels(reference: Reference) -> None:
    text = f"{reference.store}/{reference.name}:stabel"
    with pytest.raises(
        FieldError, match=r"has no channel 'stabel' .*, expected one of stable: correct"
    ) as raised:
        find_predecessor(text, reference.name, LOCATION)
    assert "leave 'champion' out until the channel has its first model" in str(raised.value)


@pytest.mark.parametrize("store", ["a store", "a new folder"])
def test_find_predecessor_of_a_misspelled_model_is_rejected(
    store: str, reference: Reference, tmp_path: Path
) -> None:
    with pytest.raises(FieldError, match="no channel of 'churm', and only the new model, 'churn', may have"):
        find_predecessor(f"{(tmp_path / store).as_uri()}/churm:stable", "churn", LOCATION)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""An attack: what an attacker writes, and the server's first steps with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.trained_bundles import FOREST, NUMERIC, altered, train_bundle
from tidegate.bundle import SKOPS, Bundle
from tidegate.errors import TidegateError
from tidegate.trust.policy import Policy
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import EngineChoice
from tidegate_serving.loading.loader import load
from tidegate_serving.selfcheck import verify_golden_outputs
from tidegate_training.bundling.persistence import to_skops


@dataclass(frozen=True, slots=True)
class Targets:
    """The bundles that attackers alter.

    Attributes:
        compiled: A bundle that ONNX Runtime serves.
        fallback: A bundle that scikit-learn serves.
        pickled: The fallback with a pickle.
    """

    compiled: Bundle
    fallback: Bundle
    pickled: Bundle


Attack = Callable[[Targets, Path], object]
"""Writes an altered bundle into a new folder, and opens it as a server does."""


def train_targets(folder: Path) -> Targets:
    """Train the bundles that attackers alter."""
    for name in ("compiled", "fallback", "pickled"):
        (folder / name).mkdir()
    return Targets(
        train_bundle(NUMERIC, folder / "compiled" / "bundle"),
        train_bundle(FOREST, folder / "fallback" / "bundle"),
        train_bundle(FOREST, folder / "pickled" / "bundle", joblib=True),
    )


def start(
    path: Path,
    digest: str | None = None,
    choice: EngineChoice = EngineChoice.AUTO,
    policy: Policy | None = None,
) -> None:
    """Load a bundle and run its golden requests, as a server does before it is ready.

    Args:
        path: The bundle's directory.
        digest: The digest of the deployment.
        choice: The engine.
        policy: The deployer's policy; by default the default one.
    """
    verify_golden_outputs(load(path, digest, policy or Policy(), choice), Limits())


def with_archive(build: Callable[[], bytes]) -> Attack:
    """Return the attack with a crafted ``model.skops``, sealed again so that its digest is valid."""

    def attack(targets: Targets, folder: Path) -> None:
        content = build()
        bundle = altered(targets.fallback, folder / "bundle", lambda path: write(path / SKOPS, content))
        start(bundle.path, bundle.digest)

    return attack


def with_model(build: Callable[[], Any]) -> Attack:
    """Return the attack with the archive of a model whose attributes are crafted."""
    return with_archive(lambda: to_skops(build()))


def write(file: Path, content: bytes) -> None:
    """Replace a file's content."""
    file.write_bytes(content)


def reason(attack: Attack, targets: Targets, folder: Path) -> str:
    """Return the sentence that an attack ends in.

    Raises:
        AssertionError: If the attack succeeds.
    """
    try:
        attack(targets, folder)
    except TidegateError as error:
        return str(error).replace(str(folder), "…")
    raise AssertionError("the server accepts the bundle")


def collected(*groups: Mapping[str, Attack]) -> dict[str, Attack]:
    """Return all attacks by name; a name is used once."""
    attacks = {name: attack for group in groups for name, attack in group.items()}
    assert len(attacks) == sum(map(len, groups))
    return attacks

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Models: bundles of ``tidegate train``, and a pickle of the same pipeline for the peers."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tidegate.bundle import SKOPS, Bundle, open_bundle
from tidegate.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[1]
DEFINITIONS = Path(__file__).parent / "models"
NAMES = tuple(sorted(path.stem for path in DEFINITIONS.glob("*.yaml")))


@dataclass(frozen=True, slots=True)
class Model:
    """One pipeline in both forms."""

    bundle: Bundle
    pickle: Path


def ensure(name: str, folder: Path) -> Model:
    """Train a model, unless the folder holds the result of the same definition and code.

    Raises:
        ConfigurationError: If training fails.
    """
    target = folder / f"{name}-{_key(name)}"
    if not target.exists():
        print(f"bench: train {name}", flush=True)
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        command: list[str | Path] = [Path(sys.executable).with_name("tidegate"), "train"]
        done = subprocess.run(
            [*command, DEFINITIONS / f"{name}.yaml", "--out", partial / "bundle"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            raise ConfigurationError(f"{name} cannot be trained: {lines[-1] if lines else done.returncode}")
        _pickle(open_bundle(partial / "bundle"), partial / "model.joblib")
        partial.rename(target)
    return Model(open_bundle(target / "bundle"), target / "model.joblib")


def _key(name: str) -> str:
    """Hash everything that the model depends on: its definition, the code and the packages' versions."""
    files = [DEFINITIONS / f"{name}.yaml", ROOT / "requirements" / "dev.lock"]
    files.append(ROOT / "examples" / "credit-risk" / "loans.csv")
    files += sorted(path for package in ("training", "tidegate") for path in (ROOT / package).rglob("*.py"))
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _pickle(bundle: Bundle, target: Path) -> None:
    """Write the pickle for the peers. This process created the archive, so all its types are trusted."""
    import joblib
    from skops.io import get_untrusted_types, loads

    content = bundle.read(SKOPS)
    joblib.dump(loads(content, trusted=get_untrusted_types(data=content)), target)

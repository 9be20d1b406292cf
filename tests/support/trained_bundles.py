# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles that training makes within a second, one per kind of model, and altered copies of bundles."""

import random
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidegate.bundle import Bundle, seal

NUMERIC = {
    "name": "tumour",
    "task": "classification",
    "data": {"dataset": "breast_cancer", "target_names": True},
    "preprocessing": {"numeric": {"scale": "standard"}},
    "algorithm": {"name": "LogisticRegression"},
}
BOOSTING = {
    "name": "boosting",
    "task": "classification",
    "data": {"dataset": "iris"},
    "algorithm": {"name": "HistGradientBoostingClassifier", "parameters": {"max_iter": 5}},
}
REGRESSION = {
    "name": "diabetes",
    "task": "regression",
    "data": {"dataset": "diabetes"},
    "algorithm": {"name": "Ridge"},
}
MIXED = {
    "name": "mixed",
    "task": "classification",
    "data": {"path": "rows.csv"},
    "target": "ill",
    "features": {"overrides": {"city": {"handle_unknown": "accept"}, "smoker": {"datatype": "bool"}}},
    "preprocessing": {"numeric": {"impute": "mean", "scale": "standard"}},
    "algorithm": {"name": "LogisticRegression"},
}
FOREST = MIXED | {
    "name": "forest",
    # The converter has no form for categories that share a column, so the compiled model is not equal.
    "preprocessing": {"numeric": {"impute": "mean"}, "categorical": {"min_frequency": 70}},
    "algorithm": {"name": "RandomForestClassifier", "parameters": {"n_estimators": 10, "max_depth": 4}},
}


def train_bundle(config: dict[str, Any], directory: Path, *, joblib: bool = False) -> Bundle:
    """Train a bundle.

    Args:
        config: The content of train.yaml.
        directory: The bundle's folder; the data of mixed columns is written next to it.
        joblib: Whether the bundle contains a pickle.
    """
    from tidegate_training import TrainingConfig, train

    (directory.parent / "rows.csv").write_text(_mixed_rows())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests of training cover its warnings
        return train(
            TrainingConfig.model_validate(config), directory, joblib=joblib, base_dir=directory.parent
        ).bundle


def _mixed_rows() -> str:
    source = random.Random(5)
    lines = ["age,visits,smoker,city,grade,ill"]
    for _ in range(240):
        age = "" if source.random() < 0.1 else f"{source.uniform(20, 80):.1f}"
        visits, smoker = source.randint(0, 9), source.random() < 0.4
        city, grade = source.choice(["Oslo", "Rome", "Paris"]), source.choice(["low", "mid", "high"])
        ill = (float(age or 50) > 55) != (smoker and grade == "high")
        lines.append(f"{age},{visits},{smoker},{city},{grade},{'yes' if ill else 'no'}")
    return "\n".join(lines) + "\n"


def altered(bundle: Bundle, directory: Path, change: Callable[[Path], None], **fields: Any) -> Bundle:
    """Return a copy of a bundle that is changed and sealed again, so that its digest is valid.

    Args:
        bundle: The original.
        directory: The copy's folder.
        change: Changes the copy's files.
        **fields: Fields of the manifest to replace.
    """
    shutil.copytree(bundle.path, directory)
    change(directory)
    manifest = bundle.manifest.model_dump(exclude={"format_version", "files"}) | fields
    return seal(directory, **manifest)


def imported_by_loading(path: Path, modules: tuple[str, ...]) -> str:
    """Return the list of these modules that a process has after it loads a bundle, as it prints it."""
    program = (
        "import sys, tidegate_serving.server; from pathlib import Path;"
        "from tidegate_serving import Predictor;"
        f"predictor = Predictor('m', Path({str(path)!r})); predictor.load();"
        f"print([name for name in {modules!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()

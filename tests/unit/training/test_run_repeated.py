# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Two processes that train with one configuration make bundles with one digest, plots included."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.training import configuration, mixed_configuration, write_loans
from tidegate.bundle import JOBLIB, Bundle, verify
from tidegate_training.run import train

SCRIPT = """
import sys
from pathlib import Path
from tidegate_training.config import TrainingConfig
from tidegate_training.run import train
for index, config in enumerate(sys.argv[2:]):
    config = TrainingConfig.model_validate_json(config)
    print(train(config, Path(f"some/where/{index}"), joblib=True, base_dir=Path(sys.argv[1])).bundle.digest)
"""
QUICK = {
    "RandomForestClassifier": {"n_estimators": 5},
    "HistGradientBoostingClassifier": {"max_iter": 5},
    "MLPClassifier": {"max_iter": 5},
}
"""Estimators whose state can depend on the process: memory of trees, order of threads, random numbers."""

REPEATED = {
    "matrix": configuration(),
    "mixed": mixed_configuration(),
    **{name: configuration(algorithm={"name": name, "parameters": QUICK[name]}) for name in QUICK},
    "mixed forest": mixed_configuration(
        algorithm={"name": "RandomForestClassifier", "parameters": {"n_estimators": 5}}
    ),
    "free text": mixed_configuration(
        features={"drop": ["loss"], "overrides": {"purpose": {"free_text": True}}},
        preprocessing={"numeric": {"impute": "mean"}, "text": {"ngram_range": [1, 2], "max_features": 2}},
    ),
}


@pytest.fixture(scope="module")
def trained_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The bundles of REPEATED that one other process has trained, with another seed of hashes."""
    folder = tmp_path_factory.mktemp("elsewhere")
    data = write_loans(folder).parent
    root = Path(__file__).parents[3]
    configs = [config.model_dump_json(exclude_unset=True) for config in REPEATED.values()]
    completed = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(data), *configs],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    digests = zip(REPEATED, completed.stdout.split(), strict=True)
    return {
        name: verify(folder / f"some/where/{index}", digest) for index, (name, digest) in enumerate(digests)
    }


@pytest.mark.xdist_group("trained_elsewhere")
@pytest.mark.parametrize("name", REPEATED)
def test_train_in_another_process_gives_the_same_digest(
    name: str, trained_elsewhere: dict[str, Bundle], tmp_path: Path
) -> None:
    data = write_loans(tmp_path).parent
    result = train(REPEATED[name], tmp_path / "here", joblib=True, base_dir=data)
    other = trained_elsewhere[name]
    assert JOBLIB in other
    assert other.manifest.files == result.bundle.manifest.files
    assert other.digest == result.bundle.digest

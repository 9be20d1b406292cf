# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import hashlib
import runpy
from pathlib import Path

import pytest
from tidegate_training.config import TrainingConfig
from tidegate_training.run import train

from tidegate.bundle import ONNX, verify
from tidegate.settings import load_yaml

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("name", ["breast-cancer", "diabetes", "credit-risk"])
def test_an_example_trains_passes_its_gates_and_compiles(name: str, tmp_path: Path):
    file = EXAMPLES / name / "train.yaml"
    config = load_yaml(file, TrainingConfig)
    trained = train(config, tmp_path / "bundle", base=file.parent)
    assert verify(trained.bundle.path, trained.bundle.digest).manifest.name == name
    assert trained.gates
    assert trained.certificate.verdict == "equal", trained.certificate.reason
    assert ONNX in trained.bundle
    assert trained.notes == []


def test_the_loans_are_what_their_generator_writes(tmp_path: Path):
    folder = EXAMPLES / "credit-risk"
    copy = tmp_path / "generate.py"
    copy.write_bytes((folder / "generate.py").read_bytes())
    runpy.run_path(str(copy), run_name="__main__")
    made, kept = ((where / "loans.csv").read_bytes() for where in (tmp_path, folder))
    assert hashlib.sha256(made).hexdigest() == hashlib.sha256(kept).hexdigest()
    assert len(kept) < 200_000

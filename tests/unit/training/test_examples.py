# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import hashlib
import runpy
from pathlib import Path

import pytest

from tidegate.bundle import ONNX, verify
from tidegate.settings import load_yaml
from tidegate_training.config import TrainingConfig
from tidegate_training.run import train

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("name", ["breast-cancer", "diabetes", "credit-risk"])
def test_example_trains_passes_its_gates_and_compiles(name: str, tmp_path: Path) -> None:
    file = EXAMPLES / name / "train.yaml"
    config = load_yaml(file, TrainingConfig)
    result = train(config, tmp_path / "bundle", base_dir=file.parent)
    assert verify(result.bundle.path, result.bundle.digest).manifest.name == name
    assert result.evaluation.gates
    assert result.parity.verdict == "equal", result.parity.reason
    assert ONNX in result.bundle
    assert result.evaluation.warnings == []


def test_example_loans_equal_the_generator_s_output(tmp_path: Path) -> None:
    folder = EXAMPLES / "credit-risk"
    copy = tmp_path / "generate.py"
    copy.write_bytes((folder / "generate.py").read_bytes())
    runpy.run_path(str(copy), run_name="__main__")
    generated, tracked = ((where / "loans.csv").read_bytes() for where in (tmp_path, folder))
    assert hashlib.sha256(generated).hexdigest() == hashlib.sha256(tracked).hexdigest()
    assert len(tracked) < 200_000

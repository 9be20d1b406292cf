# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import hashlib
import html
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from tidegate.bundle import MODEL_CARD, ONNX, REPORT, verify
from tidegate.settings import load_yaml
from tidegate_training.config import TrainingConfig
from tidegate_training.reproduction import reproduce
from tidegate_training.run import train

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    ("folder", "name", "verdict"),
    [
        ("breast-cancer", "breast-cancer", "equal"),
        ("diabetes", "diabetes", "equal"),
        ("credit-risk", "credit-risk", "equal"),
        ("recommendation", "books", "equal"),
        ("text", "support-tickets", "not compiled"),
        ("xgboost", "deliveries", "equal"),
    ],
)
def test_example_trains_and_passes_its_gates(folder: str, name: str, verdict: str, tmp_path: Path) -> None:
    file = EXAMPLES / folder / "train.yaml"
    config = load_yaml(file, TrainingConfig)
    result = train(config, tmp_path / "bundle", base_dir=file.parent)
    assert verify(result.bundle.path, result.bundle.digest).manifest.name == name
    assert result.evaluation.gates
    assert result.parity.verdict == verdict, result.parity.reason
    assert (ONNX in result.bundle) == (verdict == "equal")
    assert result.evaluation.warnings == []


@pytest.mark.usefixtures("bare_bundles")
def test_search_example_is_reproduced_without_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_yaml(EXAMPLES / "search" / "train.yaml", TrainingConfig)
    result = train(config, tmp_path / "bundle")
    search = result.evaluation.search
    assert search is not None
    manifest, findings = result.bundle.manifest, " ".join(search.findings)
    assert (manifest.algorithm, manifest.parameters["algorithm"]) == (
        search.winner.algorithm,
        search.winner.parameters,
    )
    for file in (MODEL_CARD, REPORT):
        text = html.unescape(result.bundle.read(file).decode())
        assert findings.split(". ")[0] in text
        assert all(str(trial) in text for trial in search.trials)
    assert len(list((tmp_path / "bundle.trials").glob("*/*/*.json"))) == 4 * 6
    monkeypatch.setattr("tidegate_training.run.search_algorithm", None)
    assert reproduce(result.bundle, None, tmp_path).verdict == "identical"


@pytest.mark.parametrize(
    ("folder", "data"),
    [
        ("credit-risk", "loans.csv"),
        ("recommendation", "readings.csv"),
        ("text", "tickets.csv"),
        ("xgboost", "deliveries.csv"),
    ],
)
def test_example_data_equal_the_generator_s_output(folder: str, data: str, tmp_path: Path) -> None:
    source = EXAMPLES / folder
    copy = tmp_path / "generate.py"
    copy.write_bytes((source / "generate.py").read_bytes())
    runpy.run_path(str(copy), run_name="__main__")
    generated, tracked = ((where / data).read_bytes() for where in (tmp_path, source))
    assert hashlib.sha256(generated).hexdigest() == hashlib.sha256(tracked).hexdigest()
    assert len(tracked) < 200_000


def test_notebook_runs_from_fit_to_response(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((EXAMPLES / "notebook" / "wine.ipynb").read_text())
    assert len(notebook["cells"]) == 12
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    monkeypatch.chdir(tmp_path)
    state: dict[str, Any] = {}
    try:
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), state)
    finally:
        if "server" in state:
            state["server"].kill()
            state["server"].wait()
            state["server"].stdout.close()
    assert state["parity"]["verdict"] == "equal"
    assert state["predictions"] == state["model"].predict(state["X_test"].head(3)).tolist()
    assert state["server"].returncode == 0

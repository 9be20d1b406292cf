# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tidegate_training.bundling.contract import json_answers
from tidegate_training.bundling.outputs import answers_of
from tidegate_training.bundling.persistence import from_skops
from tidegate_training.config import TrainingConfig
from tidegate_training.run import Trained, train

from tests.support.training import configuration, mixed, write_loans
from tidegate.batch import Batch
from tidegate.bundle import JOBLIB, METRICS, ONNX, PARITY, PROVENANCE, Bundle, verify
from tidegate.contract import Contract, close
from tidegate.errors import ConfigurationError, DataError, GateNotPassedError

SCRIPT = """
import sys
from pathlib import Path
from tidegate_training.config import TrainingConfig
from tidegate_training.run import train
config = TrainingConfig.model_validate_json(sys.argv[1])
bundle = train(config, Path("some/where"), joblib=True, base=Path(sys.argv[2])).bundle
print(bundle.digest)
"""
QUICK = {
    "RandomForestClassifier": {"n_estimators": 5},
    "HistGradientBoostingClassifier": {"max_iter": 5},
    "MLPClassifier": {"max_iter": 5},
}
"""Estimators whose state a process could shape: trees' memory, the order of threads, random numbers."""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(configuration(), tmp_path_factory.mktemp("numbers") / "bundle", joblib=True)


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("loans")
    write_loans(folder)
    return train(mixed(), folder / "bundle", joblib=True, base=folder)


def golden_answers_hold(
    bundle: Bundle, contract: Contract, answer: Callable[[Batch], dict[str, Any]]
) -> bool:
    found = json_answers(answer(Batch.from_rows(contract, contract.golden.rows)))
    return close(
        [found[output.name] for output in contract.outputs],
        [contract.golden.outputs[output.name] for output in contract.outputs],
        contract.golden.tolerance,
    )


@pytest.mark.parametrize("kind", ["numbers", "loans"])
def test_a_bundle_answers_its_golden_questions_in_both_forms(kind: str, request: pytest.FixtureRequest):
    trained: Trained = request.getfixturevalue(kind)
    bundle = verify(trained.bundle.path, trained.bundle.digest)
    contract = bundle.contract
    pipeline = from_skops(bundle.read("model.skops"))
    assert golden_answers_hold(bundle, contract, lambda batch: answers_of(pipeline, batch, contract.outputs))
    from tidegate_training.bundling.compile import open_session

    session = open_session(bundle.read(ONNX))
    names = [output.name for output in contract.outputs]
    assert golden_answers_hold(
        bundle, contract, lambda batch: dict(zip(names, session.run(names, batch.for_onnx()), strict=True))
    )


def test_golden_questions_ask_for_every_class_and_for_gaps(loans: Trained):
    golden = loans.bundle.contract.golden
    assert set(golden.outputs["label"]) == {"no", "yes"}
    assert any(None in row for row in golden.rows)


def test_the_contract_says_what_the_training_rows_showed(loans: Trained):
    features = {feature.name: feature for feature in loans.bundle.contract.features}
    assert list(features) == ["age", "income", "owner", "purpose", "big"]
    assert features["purpose"].categories == ("car", "house")
    assert features["purpose"].missing
    assert features["income"].missing
    assert not features["age"].missing
    assert features["age"].minimum is not None
    assert features["age"].minimum >= 18
    assert features["owner"].minimum is None


def test_the_files_beside_the_model_say_what_was_measured(numbers: Trained):
    metrics = json.loads(numbers.bundle.read(METRICS))
    assert metrics["test"] == numbers.metrics["test"]
    assert metrics["rows"] == {"train": 90, "validation": 30, "test": 30}
    parity = json.loads(numbers.bundle.read(PARITY))
    assert (parity["verdict"], parity["reason"], parity["tolerance"]) == ("equal", None, 1e-5)
    baseline = json.loads(numbers.bundle.read("baseline.json"))
    for histogram in baseline["features"].values():
        assert sum(histogram["counts"]) + histogram["missing"] == 90
        assert len(histogram["counts"]) == len(histogram["edges"]) + 1
    assert sum(baseline["predictions"]["label"]["categories"].values()) == 60
    card = numbers.bundle.read("MODEL_CARD.md").decode()
    assert "| petal width (cm) | FP32 |" in card
    provenance = json.loads((numbers.bundle.path / PROVENANCE).read_bytes())
    assert {"commit", "dirty", "host", "image", "started", "finished"} <= set(provenance)
    assert numbers.bundle.manifest.parameters["preprocessing"]["numeric"]["scale"] == "standard"


@pytest.mark.parametrize(
    "config",
    [
        configuration(),
        mixed(),
        *(configuration(algorithm={"name": name, "parameters": QUICK[name]}) for name in QUICK),
        mixed(algorithm={"name": "RandomForestClassifier", "parameters": {"n_estimators": 5}}),
    ],
    ids=["matrix", "mixed", *QUICK, "mixed forest"],
)
def test_another_process_in_another_folder_makes_the_same_digest(config: TrainingConfig, tmp_path: Path):
    data = write_loans(tmp_path).parent
    trained = train(config, tmp_path / "here", joblib=True, base=data)
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, config.model_dump_json(exclude_unset=True), str(data)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = verify(tmp_path / "some/where", done.stdout.strip())
    assert JOBLIB in theirs
    assert theirs.manifest.files == trained.bundle.manifest.files
    assert theirs.digest == trained.bundle.digest


def test_another_seed_makes_another_digest(numbers: Trained, tmp_path: Path):
    assert (
        train(configuration(seed=1), tmp_path / "bundle", joblib=True).bundle.digest != numbers.bundle.digest
    )


def test_a_model_that_misses_its_gate_leaves_nothing(tmp_path: Path):
    config = configuration(gates={"test.f1": ">= 0.999", "gap.f1": "<= -1"})
    with pytest.raises(GateNotPassedError, match=r"gap\.f1 <= -1 is missed by"):
        train(config, tmp_path / "bundles" / "test")
    assert list(tmp_path.rglob("*")) == []


def test_a_run_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*arguments: Any, **fields: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tidegate_training.run.seal", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(configuration(), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_there_is_replaced_and_anything_else_is_not(tmp_path: Path):
    first = train(configuration(seed=1), tmp_path / "bundle").bundle
    second = train(configuration(seed=2), tmp_path / "bundle").bundle
    assert first.digest != second.digest
    verify(tmp_path / "bundle", second.digest)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match="holds what is no bundle"):
        train(configuration(), tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter-1.txt").read_text() == "years of work"


def test_a_model_whose_compiled_form_differs_is_bundled_without_it(tmp_path: Path):
    write_loans(tmp_path)
    config = mixed(
        algorithm={"name": "LogisticRegression"},
        preprocessing={"numeric": {"impute": "mean"}, "text": {"min_frequency": 1000}},
    )
    trained = train(config, tmp_path / "bundle", base=tmp_path)
    assert trained.certificate.verdict != "equal"
    assert trained.certificate.reason
    assert ONNX not in trained.bundle
    assert json.loads(trained.bundle.read(PARITY))["verdict"] == trained.certificate.verdict


def test_groups_and_times_are_not_features(tmp_path: Path):
    write_loans(tmp_path)
    for split in ({"group": "age"}, {"time": "age"}):
        contract = train(mixed(split=split), tmp_path / "bundle", base=tmp_path).bundle.contract
        assert "age" not in contract.feature_names


def timed(folder: Path, label: Callable[[int], str | float]) -> dict[str, Any]:
    """The fields of a configuration on rows that come one after another, with a target by row."""
    rows = (f"{row},{(row * 7) % 10 + 0.5},{label(row)}\n" for row in range(100))
    (folder / "data.csv").write_text("t,x,y\n" + "".join(rows))
    return {"data": {"path": "data.csv"}, "target": "y", "split": {"time": "t"}}


@pytest.mark.parametrize(
    ("label", "missing"),
    [
        (
            lambda row: "yes" if row >= 60 else "no",
            "'yes', which has 20 rows in validation and 20 rows in test",
        ),
        (lambda row: "c" if row >= 80 else "ab"[row % 2], "'c', which has 20 rows in test"),
        (lambda row: "c" if row in (60, 61) else "ab"[row % 2], "'c', which has 2 rows in validation"),
    ],
)
def test_a_class_that_is_not_in_the_past_is_named(tmp_path: Path, label: Callable[[int], str], missing: str):
    config = configuration(**timed(tmp_path, label))
    with pytest.raises(DataError, match=f"The training part has no row of the class {missing}"):
        train(config, tmp_path / "bundle", base=tmp_path)


def test_a_class_that_is_not_in_the_future_is_no_obstacle(tmp_path: Path):
    config = configuration(**timed(tmp_path, lambda row: "yes" if row % 2 and row < 60 else "no"))
    trained = train(config, tmp_path / "bundle", base=tmp_path)
    assert trained.metrics["test"]["roc_auc"] is None
    assert trained.metrics["test"]["accuracy"] is not None


def test_the_largest_targets_that_are_allowed_can_be_trained_on(tmp_path: Path):
    fields = timed(tmp_path, lambda row: 1e149 * ((row * 7) % 10))
    config = configuration(
        task="regression", precision="float64", algorithm={"name": "LinearRegression"}, **fields
    )
    assert train(config, tmp_path / "bundle", base=tmp_path).metrics["test"]["r2"] > 0.99


def test_the_largest_whole_numbers_can_be_trained_on_and_are_kept_to_the_last_digit(tmp_path: Path):
    rows = [f"{2**63 - 1 - row * 2**55},{'no' if row < 10 else 'yes'}\n" for row in range(20)]
    (tmp_path / "data.csv").write_text("n,y\n" + "".join(rows * 5))
    config = configuration(
        data={"path": "data.csv"}, target="y", algorithm={"name": "DecisionTreeClassifier"}, preprocessing={}
    )
    bundle = train(config, tmp_path / "bundle", base=tmp_path).bundle
    (feature,) = bundle.contract.features
    assert (feature.datatype, feature.maximum) == ("INT64", 2**63 - 1)


def test_a_regression_has_one_output_and_no_labels(tmp_path: Path):
    config = configuration(task="regression", data={"dataset": "diabetes"}, algorithm={"name": "Ridge"})
    trained = train(config, tmp_path / "bundle")
    contract = trained.bundle.contract
    assert [(output.name, output.datatype) for output in contract.outputs] == [("prediction", "FP32")]
    assert contract.labels == ()
    assert trained.metrics["test"]["r2"] > 0.3
    assert np.isfinite(contract.golden.outputs["prediction"]).all()

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Each algorithm trains, loads under the policy that its library needs, and compiles as the table says."""

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.training import (
    SUPERVISED,
    configuration,
    fast_parameters,
    mixed_configuration,
    policy_for,
    write_loans,
    write_numbers,
)
from tidegate.bundle import ONNX, SKOPS, verify
from tidegate.classifiers import LabelEncodedClassifier
from tidegate.errors import FieldError
from tidegate.trust.archive import build_pipeline
from tidegate_training import algorithms
from tidegate_training.algorithms import ALGORITHMS, parameter_names
from tidegate_training.config import TrainingConfig
from tidegate_training.run import train

pytestmark = pytest.mark.usefixtures("bare_bundles")

KINDS = ("numbers", "gaps", "mixed", "float64")
"""Floats; floats with missing values; floats, integers, booleans and texts; 64-bit floats."""

VERDICTS = {
    "DecisionTreeClassifier": ("equal", "equal", "equal", "equal"),
    "ExtraTreesClassifier": ("equal", "equal", "equal", "equal"),
    "GaussianNB": ("equal", "equal", "equal", "equal"),
    "GradientBoostingClassifier": ("equal", "equal", "equal", "equal"),
    "HistGradientBoostingClassifier": ("equal", "equal", "equal", "equal"),
    "KNeighborsClassifier": ("equal", "equal", "equal", "equal"),
    "LGBMClassifier": ("equal", "equal", "equal", "equal"),
    "LinearSVC": ("equal", "equal", "equal", "equal"),
    "LogisticRegression": ("equal", "equal", "equal", "equal"),
    "MLPClassifier": ("equal", "equal", "equal", "equal"),
    "RandomForestClassifier": ("equal", "equal", "equal", "equal"),
    "RidgeClassifier": ("equal", "equal", "equal", "equal"),
    "SVC": ("equal", "equal", "equal", "equal"),
    "XGBClassifier": ("equal", "equal", "equal", "equal"),
    "DecisionTreeRegressor": ("equal", "equal", "equal", "equal"),
    "ElasticNet": ("equal", "equal", "equal", "equal"),
    "ExtraTreesRegressor": ("equal", "equal", "equal", "equal"),
    "GradientBoostingRegressor": ("equal", "equal", "equal", "equal"),
    "HistGradientBoostingRegressor": ("equal", "equal", "equal", "equal"),
    "KNeighborsRegressor": ("equal", "equal", "equal", "equal"),
    "LGBMRegressor": ("equal", "equal", "equal", "equal"),
    "Lasso": ("equal", "equal", "equal", "equal"),
    "LinearRegression": ("equal", "equal", "equal", "equal"),
    "LinearSVR": ("equal", "equal", "equal", "equal"),
    "MLPRegressor": ("equal", "equal", "equal", "equal"),
    "RandomForestRegressor": ("equal", "equal", "equal", "equal"),
    "Ridge": ("equal", "equal", "equal", "equal"),
    "SVR": ("equal", "equal", "equal", "equal"),
    "XGBRegressor": ("equal", "equal", "equal", "equal"),
}
"""By algorithm, the verdict of the parity report on each kind of data."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of all kinds of data."""
    folder = tmp_path_factory.mktemp("data")
    write_numbers(folder)
    write_loans(folder)
    return folder


def make_config(name: str, kind: str) -> TrainingConfig:
    task = ALGORITHMS[name].task
    algorithm = {"name": name, "parameters": fast_parameters(name)}
    fields: dict[str, Any] = {"task": task, "algorithm": algorithm}
    if kind == "mixed":
        target, other = ("default", "loss") if task == "classification" else ("loss", "default")
        overrides = {"purpose": {"handle_unknown": "accept"}}
        return mixed_configuration(
            target=target, features={"drop": [other], "overrides": overrides}, **fields
        )
    features = ["a", "b", "c", "d", "e", *(["gap"] if kind == "gaps" else [])]
    return configuration(
        data={"path": "numbers.csv"},
        target="class" if task == "classification" else "value",
        features={"keep": features},
        preprocessing={"numeric": {"impute": "median" if kind == "gaps" else "none", "scale": "standard"}},
        float_dtype="float64" if kind == "float64" else "float32",
        **fields,
    )


def test_verdicts_cover_the_registry() -> None:
    # Others: tests/unit/training/test_unsupervised.py, bundling/test_recommender_graph.py.
    assert set(VERDICTS) == set(SUPERVISED)
    assert {len(verdicts) for verdicts in VERDICTS.values()} == {len(KINDS)}


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.parametrize("kind", KINDS)
def test_algorithm_loads_and_compiles_as_recorded(name: str, kind: str, data: Path, tmp_path: Path) -> None:
    result = train(make_config(name, kind), tmp_path / "bundle", base_dir=data)
    bundle = verify(result.bundle.path, result.bundle.digest)
    assert bundle.manifest.algorithm == name
    estimator = build_pipeline(bundle.read(SKOPS), policy_for(name))[-1]
    if isinstance(estimator, LabelEncodedClassifier):
        estimator = estimator.estimator_
    assert type(estimator).__name__ == name
    assert result.parity.verdict == VERDICTS[name][KINDS.index(kind)], result.parity.reason
    assert (result.parity.verdict == "equal") == (ONNX in bundle) == (result.parity.reason is None)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "keras", "catboost"])
def test_algorithm_without_its_library_names_the_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    name = next(name for name, algorithm in ALGORITHMS.items() if algorithm.library == library)
    message = rf"{name} needs the package {library}.*install tidegate\[training,{library}\]"
    with pytest.raises(ValidationError, match=message):
        configuration(task=ALGORITHMS[name].task, algorithm={"name": name})


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_algorithm_keras_is_completed_by_the_task(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    name = "KerasRegressor" if task == "regression" else "KerasClassifier"
    with pytest.raises(ValidationError, match=f"{name} needs the package keras"):
        configuration(task=task, data={"path": "a.csv"}, target="y", algorithm={"name": "keras"})


def test_missing_scikit_learn_is_left_to_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # It has no extra of its own, and 'tidegate train' names the extra of the command.
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{name}'", name="sklearn")

    monkeypatch.setattr(algorithms, "import_module", fail)
    with pytest.raises(ModuleNotFoundError):
        algorithms.estimator_class("LogisticRegression")


def test_algorithm_without_a_system_library_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(module: str) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(algorithms, "import_module", fail)
    with pytest.raises(FieldError, match=r"LGBMClassifier cannot be imported \(libgomp\.so\.1.*install the"):
        parameter_names("LGBMClassifier")

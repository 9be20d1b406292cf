# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from tidegate_serving.loading.loader import build
from tidegate_serving.loading.policy import Policy
from tidegate_training.algorithms import ALGORITHMS, parameter_names
from tidegate_training.run import train

from tests.support.training import configuration
from tidegate.bundle import ONNX, SKOPS, verify

QUICK = {
    "n_estimators": 5,
    "max_iter": 2000,
    "max_depth": 4,
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_trains_loads_and_compiles_or_says_why_not(name: str, tmp_path: Path):
    parameters = {key: value for key, value in QUICK.items() if key in parameter_names(name)}
    if name.startswith("HistGradientBoosting"):
        parameters["max_iter"] = 5
    task = ALGORITHMS[name].task
    config = configuration(
        task=task,
        data={"dataset": "wine" if task == "classification" else "diabetes"},
        algorithm={"name": name, "parameters": parameters},
    )
    trained = train(config, tmp_path / "bundle")
    bundle = verify(trained.bundle.path, trained.bundle.digest)
    assert build(bundle.read(SKOPS), Policy())[-1].__class__.__name__ == name
    certificate = trained.certificate
    assert (certificate.verdict == "equal") == (ONNX in bundle) == (certificate.reason is None)
    assert bundle.manifest.algorithm == name

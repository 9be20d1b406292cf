# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from skops.io import get_untrusted_types

from tests.unit.training.material import configuration
from tidegate.bundle import ONNX, SKOPS, verify
from training.algorithms import ALGORITHMS, complaint_about
from training.run import train

TRUSTED = {
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn._loss._loss.CyHalfSquaredError",
    "sklearn._loss.link.IdentityLink",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
}
"""The internals of scikit-learn that skops does not trust by itself and that the algorithms are made of."""

QUICK = {
    "n_estimators": 5,
    "max_iter": 2000,
    "max_depth": 4,
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_trains_loads_and_compiles_or_says_why_not(name: str, tmp_path: Path):
    parameters = {key: value for key, value in QUICK.items() if complaint_about(name, {key: value}) is None}
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
    assert set(get_untrusted_types(data=bundle.read(SKOPS))) <= TRUSTED
    certificate = trained.certificate
    assert (certificate.verdict == "equal") == (ONNX in bundle) == (certificate.reason is None)
    assert bundle.manifest.algorithm == name

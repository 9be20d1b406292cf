# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from tidegate.contract import MATRIX, Datatype, Output
from tidegate.networks import OPERATIONS, NetworkClassifier, NetworkRegressor
from tidegate_training.bundling.compile import open_session, to_onnx

RANDOM = np.random.default_rng(0)
WIDTH = 3
ROWS = np.vstack([RANDOM.normal(0, 4, (50, WIDTH)), RANDOM.normal(0, 4e6, (50, WIDTH)), np.zeros((1, WIDTH))])

PARAMETERS: dict[str, dict[str, Any]] = {
    "affine": {"scale": np.array([1.5, -2.0, 1e-9]), "offset": np.ones(1)},
    "clip": {"low": -1.0, "high": 0.5},
    "dense": {"kernel": RANDOM.normal(size=(WIDTH, 2)), "bias": np.array([1.0, 2.0])},
    "elu": {"alpha": 0.7},
    "layer_normalization": {"epsilon": 1e-3},
    "relu": {"slope": np.array([0.1, 0.2, 0.0]), "maximum": 6.0, "threshold": 0.5},
}


def run(estimator: Any, outputs: tuple[Output, ...], rows: NDArray[Any]) -> list[NDArray[Any]]:
    datatype = Datatype.FP64 if rows.dtype == np.float64 else Datatype.INT64
    datatypes = {f"x{index}": datatype for index in range(rows.shape[1])}
    graph = to_onnx(Pipeline([("estimator", estimator)]), "test", datatypes, outputs)
    return list(open_session(graph).run(None, {MATRIX: rows}))


@pytest.mark.parametrize("kind", sorted(OPERATIONS.keys() - {"complement"}))
def test_convert_network_computes_the_operation(kind: str) -> None:
    network = NetworkRegressor([{"kind": kind, **PARAMETERS.get(kind, {})}], WIDTH)
    expected = network.predict(ROWS)
    outputs = (Output(name="prediction", datatype=Datatype.FP64, width=expected.shape[1]),)
    [actual] = run(network, outputs, ROWS)
    finite = np.isfinite(expected)
    assert finite.any()
    margin = 1e-6 if kind == "gelu" else 1e-12  # ONNX Runtime has its error function in 32 bits
    np.testing.assert_allclose(actual[finite], expected[finite], rtol=2e-7, atol=margin)


@pytest.mark.parametrize(
    ("last", "width", "classes"),
    [
        ([{"kind": "sigmoid"}, {"kind": "complement"}], 1, np.array(["no", "yes"])),
        ([{"kind": "softmax"}], 3, np.array([2, 5, 7])),
    ],
    ids=["two", "three"],
)
def test_convert_network_computes_labels_and_probabilities(
    last: list[dict[str, Any]], width: int, classes: NDArray[Any]
) -> None:
    dense = {"kind": "dense", "kernel": RANDOM.normal(size=(WIDTH, width)), "bias": np.zeros(width)}
    network = NetworkClassifier([dense, *last], WIDTH, classes)
    datatype = Datatype.BYTES if classes.dtype.kind == "U" else Datatype.INT64
    outputs = (
        Output(name="label", datatype=datatype),
        Output(name="probabilities", datatype=Datatype.FP32, width=len(classes)),
    )
    rows = RANDOM.integers(-5, 5, (40, WIDTH))
    labels, probabilities = run(network, outputs, rows)
    np.testing.assert_array_equal(labels, network.predict(rows))
    np.testing.assert_allclose(probabilities, network.predict_proba(rows), atol=1e-7)
    assert len(np.unique(labels)) == len(classes)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A compiled model with thresholds that are wrong by the smallest step is found by threshold rows alone."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    AdaBoostRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from tests.support.fitted_models import detect_outputs, predict_outputs, sklearn_rows
from tidegate.batch import Batch
from tidegate.contract import Contract, Datatype
from tidegate_training.bundling import thresholds
from tidegate_training.bundling.compile import open_session, to_onnx
from tidegate_training.bundling.parity import compare_outputs
from tidegate_training.bundling.probes import probe_rows
from tidegate_training.bundling.thresholds import threshold_rows

RANDOM = np.random.default_rng(3)
NAMES = ("a", "b", "c", "d")
COLUMNS = {
    "a": RANDOM.normal(5.0, 3.0, 300),
    "b": RANDOM.normal(-1.0, 0.1, 300),
    "c": RANDOM.uniform(0.0, 1e6, 300),
    "d": RANDOM.integers(1, 1 << 20, 300),
}
TARGET = COLUMNS["a"] + 10 * COLUMNS["b"] + COLUMNS["c"] / 1e5 + COLUMNS["d"] / 1e5
TYPES = {Datatype.FP32: np.float32, Datatype.FP64: np.float64, Datatype.INT64: np.int64}


def make_contract(columns: dict[str, Any], datatypes: dict[str, Datatype]) -> Contract:
    def limits(name: str) -> dict[str, Any]:
        if datatypes[name] is Datatype.BYTES:
            return {"categories": sorted(set(columns[name]))}
        return {"minimum": columns[name].min().item(), "maximum": columns[name].max().item()}

    return Contract.model_validate(
        {
            "name": "test",
            "task": "regression",
            "layout": "matrix" if len(set(datatypes.values())) == 1 else "frame",
            "features": [{"name": name, "datatype": datatypes[name]} | limits(name) for name in columns],
            "outputs": [{"name": "prediction", "datatype": "FP32"}],
            "golden": {
                "rows": [tuple(np.asarray(column[0]).item() for column in columns.values())],
                "outputs": {"prediction": [0.0]},
                "tolerance": 1e-5,
            },
        }
    )


def with_wrong_thresholds(compiled: bytes) -> bytes:
    """Return a compiled model whose thresholds are larger by the smallest step of their type."""
    model = onnx.load_from_string(compiled)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "nodes_values":
                values = np.array(attribute.floats, np.float32)
                attribute.floats[:] = np.nextafter(values, np.float32(np.inf))
            elif attribute.name == "nodes_values_as_tensor":
                values = np.nextafter(numpy_helper.to_array(attribute.t), np.inf)
                attribute.CopyFrom(helper.make_attribute(attribute.name, numpy_helper.from_array(values)))
    content: bytes = model.SerializeToString()
    return content


def verdicts(pipeline: Any, contract: Contract, data: Batch, broken: bytes) -> list[str]:
    """Return the verdicts on a broken model: on data and probe rows, and on threshold rows."""
    ordinary = Batch.concatenate([data, probe_rows(contract, seed=0)])
    outputs = detect_outputs(pipeline, data, [feature.datatype for feature in contract.features])
    session = open_session(broken)
    return [
        compare_outputs(session, predict_outputs(pipeline, batch, outputs), batch, TARGET.std()).verdict
        for batch in (ordinary, threshold_rows(broken, contract, data))
    ]


def assert_found_by_threshold_rows_alone(
    pipeline: Any, columns: dict[str, Any], datatypes: dict[str, Datatype]
) -> None:
    contract = make_contract(columns, datatypes)
    data = Batch.from_columns(contract, columns)
    pipeline.fit(sklearn_rows(data), TARGET)
    outputs = detect_outputs(pipeline, data, datatypes.values())
    compiled = to_onnx(pipeline, "test", datatypes, outputs)
    assert verdicts(pipeline, contract, data, compiled) == ["equal", "equal"]
    assert verdicts(pipeline, contract, data, with_wrong_thresholds(compiled)) == ["equal", "different"]


@pytest.mark.parametrize("scaler", [None, StandardScaler(), MinMaxScaler()], ids=str)
@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeRegressor(max_depth=5),
        RandomForestRegressor(n_estimators=5, max_depth=5, random_state=0),
        GradientBoostingRegressor(n_estimators=5),
        AdaBoostRegressor(DecisionTreeRegressor(max_depth=3), n_estimators=3, random_state=0),
        HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_threshold_rows_find_thresholds_off_by_one_step(estimator: Any, scaler: Any) -> None:
    columns = {name: column.astype(np.float32) for name, column in COLUMNS.items()}
    pipeline = Pipeline([*([("scale", scaler)] if scaler else []), ("estimator", estimator)])
    assert_found_by_threshold_rows_alone(pipeline, columns, dict.fromkeys(NAMES, Datatype.FP32))


@pytest.mark.parametrize(
    ("estimator", "datatype"),
    [
        (DecisionTreeRegressor(max_depth=5), Datatype.FP64),
        (DecisionTreeRegressor(max_depth=5), Datatype.INT64),
        (HistGradientBoostingRegressor(max_iter=5), Datatype.FP64),
    ],
    ids=str,
)
def test_threshold_rows_of_64_bits_find_wrong_thresholds(estimator: Any, datatype: Datatype) -> None:
    columns = {name: column.astype(TYPES[datatype]) for name, column in COLUMNS.items()}
    pipeline = Pipeline([("scale", StandardScaler()), ("estimator", estimator)])
    assert_found_by_threshold_rows_alone(pipeline, columns, dict.fromkeys(NAMES, datatype))


def test_threshold_rows_of_named_columns_of_several_types() -> None:
    columns = {
        "a": COLUMNS["a"].astype(np.float32),
        "text": np.array(["x", "y", "z"] * 100, object),
        "d": COLUMNS["d"],
    }
    datatypes = {"a": Datatype.FP32, "text": Datatype.BYTES, "d": Datatype.INT64}
    encoder = OneHotEncoder(sparse_output=False, dtype=np.float32, handle_unknown="ignore")
    transformer = ColumnTransformer(
        [("fp32", StandardScaler(), ["a"]), ("bytes", encoder, ["text"]), ("int64", StandardScaler(), ["d"])]
    )
    pipeline = Pipeline([("columns", transformer), ("estimator", DecisionTreeRegressor(max_depth=5))])
    assert_found_by_threshold_rows_alone(pipeline, columns, datatypes)


def compile_forest(columns: dict[str, Any]) -> tuple[bytes, Contract, Batch]:
    datatypes = dict.fromkeys(columns, Datatype.FP32)
    contract = make_contract(columns, datatypes)
    data = Batch.from_columns(contract, columns)
    pipeline = Pipeline([("estimator", RandomForestRegressor(n_estimators=3, random_state=0))])
    pipeline.fit(sklearn_rows(data), TARGET)
    return (
        to_onnx(pipeline, "test", datatypes, detect_outputs(pipeline, data, datatypes.values())),
        contract,
        data,
    )


def test_threshold_rows_differ_from_data_in_one_adjacent_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "MAX_THRESHOLDS", 20)
    # Two hundred features, most of them noise: the feature of each threshold has to be found.
    columns = {f"f{index}": RANDOM.normal(size=300).astype(np.float32) for index in range(200)}
    columns["f137"] = COLUMNS["a"].astype(np.float32)
    compiled, contract, data = compile_forest(columns)
    (matrix,) = data.arrays.values()
    (rows,) = threshold_rows(compiled, contract, data).arrays.values()
    low, high = np.split(rows, 2)
    assert 0 < len(low) <= 20
    changed = low != high
    assert (changed.sum(axis=1) == 1).all()
    assert (np.nextafter(low[changed], np.float32(np.inf)) == high[changed]).all()
    assert changed[:, 137].any()
    for row, is_changed in zip(low, changed, strict=True):
        assert (row == matrix)[:, ~is_changed].all(axis=1).any()


def test_threshold_rows_without_trees_are_none() -> None:
    columns = {"a": COLUMNS["a"].astype(np.float32)}
    datatypes = {"a": Datatype.FP32}
    contract = make_contract(columns, datatypes)
    data = Batch.from_columns(contract, columns)
    pipeline = Pipeline([("estimator", LinearRegression())]).fit(sklearn_rows(data), TARGET)
    compiled = to_onnx(pipeline, "test", datatypes, detect_outputs(pipeline, data, datatypes.values()))
    assert len(threshold_rows(compiled, contract, data)) == 0

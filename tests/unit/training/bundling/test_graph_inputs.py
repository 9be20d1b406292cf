# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tidegate.batch import Batch
from tidegate.contract import Datatype, Output
from tidegate_training.bundling.compile import open_session, to_onnx

RANDOM = np.random.default_rng(0)
OUTPUTS = (Output(name="prediction", datatype=Datatype.FP32),)


def fit(columns: dict[str, Any], *transformers: tuple[str, Any, list[str]]) -> Pipeline:
    pipeline = Pipeline([("columns", ColumnTransformer(list(transformers))), ("last", LinearRegression())])
    return pipeline.fit(pd.DataFrame(columns), RANDOM.normal(size=len(next(iter(columns.values())))))


def encoder() -> OneHotEncoder:
    return OneHotEncoder(sparse_output=False, dtype=np.float32, handle_unknown="ignore")


def graph_of(pipeline: Pipeline, columns: dict[str, Any]) -> tuple[Any, bytes]:
    datatypes = {
        name: Datatype.BYTES if values.dtype == object else Datatype.FP32 for name, values in columns.items()
    }
    content = to_onnx(pipeline, "test", datatypes, OUTPUTS)
    return onnx.load_from_string(content).graph, content


def operators(graph: Any) -> list[str]:
    return [node.op_type for node in graph.node]


@pytest.mark.parametrize("width", [3, 30])
def test_merge_inputs_graph_does_not_grow_with_features(width: int) -> None:
    columns = {f"x{i}": RANDOM.normal(size=20).astype(np.float32) for i in range(width)}
    columns["city"] = np.array(["a", "b"] * 10, dtype=object)
    names = [name for name in columns if name != "city"]
    pipeline = fit(columns, ("fp32", StandardScaler(), names), ("bytes", encoder(), ["city"]))
    graph, _ = graph_of(pipeline, columns)
    assert [entry.name for entry in graph.input] == ["input-FP32", "input-BYTES"]
    assert operators(graph).count("Concat") == 1
    # Gemm has three: rows, coefficients, intercepts.
    assert max(len(node.input) for node in graph.node) == 3


def test_merge_inputs_selects_columns_by_number() -> None:
    # The order of the selection is not that of the features, and one feature is in two selections.
    columns = {name: RANDOM.normal(size=20).astype(np.float32) for name in "abcd"}
    columns["text"] = np.array(["u", "v"] * 10, dtype=object)
    columns["other"] = np.array(["p", "p", "q", "q"] * 5, dtype=object)
    pipeline = fit(
        columns,
        ("scaled", StandardScaler(), ["d", "a"]),
        ("as_is", "passthrough", ["b", "a", "c"]),
        ("other", encoder(), ["other"]),
        ("texts", encoder(), ["text", "other"]),
    )
    graph, content = graph_of(pipeline, columns)
    assert [entry.name for entry in graph.input] == ["input-FP32", "input-BYTES"]
    (actual,) = open_session(content).run(None, Batch(columns).for_onnx())
    np.testing.assert_allclose(actual, pipeline.predict(pd.DataFrame(columns)), atol=1e-5)


@pytest.mark.parametrize("name", ["prediction", "input-FP32", "variable", "input-FP32/selected0"])
def test_merge_inputs_feature_may_have_any_name(name: str) -> None:
    columns = {
        name: RANDOM.normal(size=20).astype(np.float32),
        "b": RANDOM.normal(size=20).astype(np.float32),
        "text": np.array(["u", "v"] * 10, dtype=object),
    }
    pipeline = fit(columns, ("one", StandardScaler(), ["b"]), ("two", "passthrough", [name]))
    _, content = graph_of(pipeline, columns)
    (actual,) = open_session(content).run(None, Batch(columns).for_onnx())
    np.testing.assert_allclose(actual, pipeline.predict(pd.DataFrame(columns)), atol=1e-5)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tidegate import inspection
from tidegate.bundle import ONNX, SKOPS, Bundle
from tidegate.errors import BundleError, ConfigurationError, DataError
from tidegate.trust.policy import Policy
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import EngineChoice
from tidegate_serving.loading.loader import load
from tidegate_serving.selfcheck import verify_golden_outputs
from tidegate_training import bundle
from tidegate_training.model_file import read_model, read_rows

pytestmark = pytest.mark.usefixtures("bare_bundles")

ROWS = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
NAMES = np.array(["high", "low", "middle"])[np.digitize(ROWS[:, 0], [-0.5, 0.5])]
FRAME = pd.DataFrame(ROWS, columns=["a", "b", "c"])
MIXED = pd.DataFrame({"size": ROWS[:, 0], "city": ["Oslo", "Rome", "Bern"] * 20, "n": np.arange(60)})
VALUES = ROWS @ [1.0, -2.0, 0.5] + 3


def classifier(**options: Any) -> Any:
    model = LogisticRegression().fit(ROWS, NAMES)
    return to_onnx(model, ROWS[:1], options={id(model): options})


def regression() -> Any:
    return to_onnx(LinearRegression().fit(ROWS, VALUES), ROWS[:1])


def columns() -> Any:
    encoder = ColumnTransformer([("city", OneHotEncoder(), ["city"]), ("rest", "passthrough", ["size", "n"])])
    model = make_pipeline(encoder, LogisticRegression(max_iter=1000)).fit(MIXED, MIXED["n"] % 2)
    types = {"size": FloatTensorType, "city": StringTensorType, "n": Int64TensorType}
    return to_onnx(model, initial_types=[(name, kind([None, 1])) for name, kind in types.items()])


def network(last: str | None, width: int, name: str = "out", rows: int | None = None, **fields: Any) -> Any:
    """Return a graph of one dense layer, as other tools write it: one output and no labels."""
    kernel = numpy_helper.from_array(np.eye(3, width, dtype=np.float32) - 0.3, "kernel")
    nodes = [helper.make_node("MatMul", ["label", "kernel"], ["hidden" if last else name])]
    if last:
        nodes.append(helper.make_node(last, ["hidden"], [name]))
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("label", TensorProto.FLOAT, [rows, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, width])],
        [kernel],
    )
    opsets = fields.pop("opset_imports", [helper.make_opsetid("", 17)])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **fields)


def vector() -> Any:
    """Return a network whose probabilities are ``[rows]``."""
    model = network("Sigmoid", 1)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), "rows"))
    graph.node.insert(1, helper.make_node("Reshape", ["hidden", "rows"], ["flat"]))
    graph.node[2].input[0] = "flat"
    graph.output[0].CopyFrom(helper.make_tensor_value_info("out", TensorProto.FLOAT, [None]))
    return model


def with_constants_as_inputs() -> Any:
    """Return a network as version 3 of the format has it."""
    model = network("Softmax", 3)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return model


def with_mapped_labels(labels: list[Any], **options: Any) -> Any:
    """Return a classifier of 0 and 1 that maps its labels to others."""
    fitted = LogisticRegression().fit(ROWS, (ROWS[:, 0] > 0).astype(int))
    model = to_onnx(fitted, ROWS[:1], options={id(fitted): options})
    graph, kind = model.graph, "strings" if isinstance(labels[0], str) else "int64s"
    label = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["number" if name == label else name for name in node.output]
    mapping = {"keys_int64s": [0, 1], f"values_{kind}": labels}
    graph.node.append(helper.make_node("LabelEncoder", ["number"], [label], domain="ai.onnx.ml", **mapping))
    graph.output[0].type.tensor_type.elem_type = 8 if kind == "strings" else 7
    for opset in model.opset_import:
        opset.version = max(opset.version, 3)
    return model


def seal(model: Any, folder: Path, frame: pd.DataFrame = FRAME, target: Any = None) -> Bundle:
    """Seal a graph as ``tidegate bundle`` does."""
    file, rows = folder / "model.onnx", folder / "rows.csv"
    file.write_bytes(model.SerializeToString())
    (frame if target is None else frame.assign(y=target)).to_csv(rows, index=False)
    saved = read_model(file, Policy(), allow_pickle=False)
    name = None if target is None else "y"
    X, y = read_rows(str(rows), name, saved.columns, saved.dtypes, saved.number_dtype)
    return bundle(saved.estimator, X, y, name="other", directory=folder / "bundle")


@pytest.mark.parametrize(
    ("model", "frame", "target", "labels", "datatypes"),
    [
        (classifier, FRAME, NAMES, ("high", "low", "middle"), ["FP32"]),
        (lambda: classifier(zipmap=False), FRAME, NAMES, ("high", "low", "middle"), ["FP32"]),
        (columns, MIXED, MIXED["n"] % 2, (0, 1), ["BYTES", "FP32", "INT64"]),
        (regression, FRAME, VALUES, (), ["FP32"]),
        (lambda: network("Softmax", 3, "probabilities"), FRAME, None, (0, 1, 2), ["FP32"]),
        (lambda: network("Sigmoid", 1, "prediction"), FRAME, ROWS[:, 0] > 0, (0, 1), ["FP32"]),
        (vector, FRAME, ROWS[:, 0] > 0, (0, 1), ["FP32"]),
        (with_constants_as_inputs, FRAME, None, (0, 1, 2), ["FP32"]),
        (lambda: network(None, 2, "input-0"), FRAME, None, (), ["FP32"]),
    ],
    ids=[
        "dictionaries",
        "matrix",
        "columns",
        "regression",
        "softmax",
        "sigmoid",
        "vector",
        "constants",
        "values",
    ],
)
def test_bundle_of_an_onnx_file_serves_its_graph(
    model: Callable[[], Any], frame: Any, target: Any, labels: Any, datatypes: list[str], tmp_path: Path
) -> None:
    sealed = seal(model(), tmp_path, frame, target)
    parity = json.loads(sealed.read("parity.json"))
    assert (parity["verdict"], parity["max_abs_difference"], parity["batch_sizes"]) == ("equal", 0, [256])
    assert (ONNX in sealed, SKOPS in sealed, sealed.contract.labels) == (True, False, labels)
    assert sorted({str(feature.datatype) for feature in sealed.contract.features}) == datatypes
    loaded = load(sealed.path, sealed.digest, Policy())
    assert loaded.engine.name == "onnx"
    verify_golden_outputs(loaded, Limits())


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of a network's file."""
    return seal(network("Softmax", 3), tmp_path_factory.mktemp("onnx"))


def test_bundle_of_an_onnx_file_says_what_it_was_compared_with(sealed: Bundle) -> None:
    assert "equal to the file's own graph on" in sealed.read("MODEL_CARD.md").decode()
    assert sealed.manifest.algorithm == "OnnxClassifier"


def test_load_of_an_onnx_file_has_no_scikit_learn(sealed: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no pipeline of scikit-learn, .* ONNX file.*--engine auto"):
        load(sealed.path, sealed.digest, Policy(), EngineChoice.SKLEARN)


def test_inspect_of_an_onnx_file_shows_one_memory_limit(sealed: Bundle) -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(inspection.render(sealed, inspection.describe(sealed)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "MiB with the compiled model" in text
    assert "with scikit-learn" not in text


def foreign() -> Any:
    model = network("Softmax", 3, opset_imports=[helper.make_opsetid(d, 17) for d in ("", "com.own")])
    model.graph.node[0].domain = "com.own"
    return model


def with_function() -> Any:
    function = helper.make_function(
        "", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 17)]
    )
    return network("Softmax", 3, functions=[function])


def external() -> Any:
    model = network("Softmax", 3)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../weights.bin")
    return model


def two_outputs() -> Any:
    model = network("Softmax", 3)
    model.graph.output.append(helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [None, 3]))
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (foreign, "operators of com.own, expected the standard ones"),
        (with_function, "functions of its own"),
        (external, "its weights are in other files: save it as one file"),
        (two_outputs, "the outputs out, hidden, expected a label and probabilities"),
        (lambda: network("Sigmoid", 3), "a sigmoid of each class"),
        (lambda: with_mapped_labels(["no", "yes"], zipmap=False), "cannot be read from the label"),
        (lambda: with_mapped_labels([1, 0], zipmap=False), "cannot be read from the label"),
        (lambda: with_mapped_labels([3, 7]), "cannot be read from the label"),
        (
            lambda: network("Softmax", 3, rows=1),
            r"'label' has the shape \[1, 3\].*number of rows has to be free",
        ),
    ],
    ids=["domain", "function", "external", "outputs", "sigmoids", "texts", "swapped", "dictionaries", "rows"],
)
def test_read_onnx_rejects_other_graphs_in_one_sentence(
    model: Callable[[], Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=f"model.onnx cannot be bundled: .*{message}"):
        seal(model(), tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a graph", classifier().SerializeToString()[:200]])
def test_read_onnx_of_a_damaged_file_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"onnx cannot be read as an ONNX model \(.+export it"):
        read_model(tmp_path / "model.onnx", Policy(), allow_pickle=False)


def test_bundle_of_outputs_that_are_no_probabilities_names_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are not probabilities"):
        seal(classifier(zipmap=False, raw_scores=True), tmp_path, target=NAMES)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from tidegate.batch import Batch
from tidegate.bundle import ONNX, Bundle
from tidegate.contract import Output
from tidegate.errors import BundleError
from tidegate_serving.engines.base import Engine
from tidegate_serving.engines.onnx import OnnxEngine


@pytest.mark.parametrize("which", ["numeric", "mixed", "regression"])
def test_onnx_engine_computes_the_golden_outputs(which: str, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(f"{which}_bundle")
    engine: Engine = OnnxEngine(bundle.read(ONNX), bundle.contract)
    golden = bundle.contract.golden
    outputs = engine.run(Batch.from_rows(bundle.contract, golden.rows))
    assert list(outputs) == [output.name for output in bundle.contract.outputs]
    for output in bundle.contract.outputs:
        assert outputs[output.name].dtype == output.datatype.dtype
        for actual, expected in zip(outputs[output.name].tolist(), golden.outputs[output.name], strict=True):
            assert golden.is_close(actual, expected)


def test_onnx_engine_computes_all_outputs_at_once(numeric_bundle: Bundle) -> None:
    contract = numeric_bundle.contract
    engine = OnnxEngine(numeric_bundle.read(ONNX), contract)
    engine.prepare_thread()
    outputs = engine.run(Batch.from_rows(contract, contract.golden.rows), frozenset({"label"}))
    assert not engine.selects_outputs
    assert set(outputs) == {"label", "probabilities"}


def test_onnx_engine_rejects_bytes_that_are_not_a_model(numeric_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"^model\.onnx cannot be loaded by ONNX Runtime: .*\.$"):
        OnnxEngine(b"no", numeric_bundle.contract)


def test_onnx_engine_names_the_outputs_that_the_model_lacks(numeric_bundle: Bundle) -> None:
    absent = Output(name="absent", datatype="FP32")
    contract = numeric_bundle.contract.model_copy(update={"outputs": (absent,)})
    with pytest.raises(BundleError, match=r"model\.onnx lacks the outputs of the contract: absent"):
        OnnxEngine(numeric_bundle.read(ONNX), contract)


def test_onnx_engine_rejects_a_model_that_reads_other_files(
    numeric_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    (tmp_path / "secret").write_bytes(np.zeros(4, dtype=np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    model = onnx.load_from_string(numeric_bundle.read(ONNX))
    weight = onnx.TensorProto(name="stolen", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="secret")
    model.graph.initializer.append(weight)
    model.graph.node.add(op_type="Identity", input=["stolen"], output=["loot"])
    model.graph.output.add(name="loot").type.tensor_type.elem_type = 1
    with pytest.raises(BundleError, match=r"model\.onnx cannot be loaded"):
        OnnxEngine(model.SerializeToString(), numeric_bundle.contract)

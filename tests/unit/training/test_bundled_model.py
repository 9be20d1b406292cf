# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path

import numpy as np
import pytest

from tidegate.batch import Batch
from tidegate.bundle import ONNX, PARITY, Bundle, seal
from tidegate.errors import BundleError
from tidegate_training import bundled_model
from tidegate_training.bundled_model import BundledModel
from tidegate_training.bundling.contract import to_json_outputs


def with_files(bundle: Bundle, folder: Path, **versions: str) -> Bundle:
    """Seal a changed copy of a bundle's files."""
    fields = bundle.manifest.model_dump(exclude={"format_version", "files"})
    return seal(folder, **fields | {"versions": bundle.manifest.versions | versions})


@pytest.fixture
def copied(numeric_bundle: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(numeric_bundle.path, tmp_path / "bundle")


@pytest.mark.parametrize("which", ["numeric", "mixed", "regression"])
@pytest.mark.parametrize("compiled", [True, False])
def test_bundled_model_computes_the_golden_outputs(
    which: str, compiled: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle: Bundle = request.getfixturevalue(f"{which}_bundle")
    monkeypatch.setattr(bundled_model, "_is_proven_equal", lambda _: compiled)
    golden = bundle.contract.golden
    outputs = BundledModel.open(bundle).predict(Batch.from_rows(bundle.contract, golden.rows))
    for name, values in to_json_outputs(outputs).items():
        assert golden.is_close(values, golden.outputs[name])


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (PARITY, b"[]", "parity.json of .* is not a JSON object"),
        (PARITY, b"no", "parity.json of .* is not a JSON object"),
        (ONNX, b"no", "model.onnx of .* cannot load the graph"),
    ],
)
def test_bundled_model_rejects_damaged_files(
    numeric_bundle: Bundle, copied: Path, name: str, content: bytes, problem: str
) -> None:
    (copied / name).write_bytes(content)
    with pytest.raises(BundleError, match=problem):
        BundledModel.open(with_files(numeric_bundle, copied))


def test_bundled_model_reads_no_file_beside_the_bundle(
    numeric_bundle: Bundle, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    (copied.parent / "secret").write_bytes(np.zeros(4, dtype=np.float32).tobytes())
    monkeypatch.chdir(copied.parent)
    model = onnx.load_from_string(numeric_bundle.read(ONNX))
    weight = onnx.TensorProto(name="stolen", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="secret")
    model.graph.initializer.append(weight)
    model.graph.node.add(op_type="Identity", input=["stolen"], output=["loot"])
    model.graph.output.add(name="loot").type.tensor_type.elem_type = 1
    (copied / ONNX).write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match="cannot load the graph"):
        BundledModel.open(with_files(numeric_bundle, copied))


def test_bundled_model_needs_the_minor_version_of_scikit_learn(numeric_bundle: Bundle, copied: Path) -> None:
    (copied / PARITY).write_text('{"verdict": "different"}')
    sealed = with_files(numeric_bundle, copied, **{"scikit-learn": "0.1.0"})
    with pytest.raises(
        BundleError, match=r"trained with scikit-learn 0\.1\.0, and .* install the same minor"
    ):
        BundledModel.open(sealed)

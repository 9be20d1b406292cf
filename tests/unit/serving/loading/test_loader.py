# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tidegate_serving import selfcheck
from tidegate_serving.codecs.request import Limits
from tidegate_serving.loading.loader import EngineChoice, LoadedModel, load
from tidegate_serving.loading.policy import Policy

from tests.support.trained_bundles import altered
from tidegate.bundle import Bundle
from tidegate.digest import canonical_json
from tidegate.errors import BundleError, ConfigurationError


def attempt(path: Path, digest: str | None = None, choice: EngineChoice = EngineChoice.AUTO) -> LoadedModel:
    model = load(path, digest, Policy(), choice)
    selfcheck.check(model, Limits())
    return model


def copied(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "copy"))


def edit_manifest(path: Path, edit: Callable[[dict], None]) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    edit(manifest)
    (path / "manifest.json").write_bytes(canonical_json(manifest))


def test_a_bundle_proven_equal_is_served_compiled(numeric_bundle: Bundle) -> None:
    assert attempt(numeric_bundle.path, numeric_bundle.digest).engine.name == "onnx"


def test_a_bundle_not_proven_equal_is_served_by_scikit_learn(forest_bundle: Bundle) -> None:
    assert json.loads(forest_bundle.read("parity.json"))["verdict"] != "equal"
    assert attempt(forest_bundle.path).engine.name == "sklearn"


@pytest.mark.parametrize("which", ["numeric", "mixed", "forest", "boosting", "regression"])
def test_scikit_learn_answers_the_golden_questions_of_every_bundle(
    which: str, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(f"{which}_bundle")
    assert attempt(bundle.path, choice=EngineChoice.SKLEARN).engine.name == "sklearn"


def test_the_compiled_engine_is_refused_where_nothing_is_proven(forest_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no compiled form that is proven equal"):
        attempt(forest_bundle.path, choice=EngineChoice.ONNX)


def test_another_digest_is_refused(numeric_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="expected [0-9a-f]{64}: it is another bundle"):
        attempt(numeric_bundle.path, "0" * 64)


@pytest.mark.parametrize(
    "name", ["model.skops", "model.onnx", "contract.json", "parity.json", "MODEL_CARD.md"]
)
def test_a_tampered_file_is_refused(name: str, numeric_bundle: Bundle, tmp_path: Path) -> None:
    path = copied(numeric_bundle, tmp_path)
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        attempt(path, numeric_bundle.digest)


def test_a_missing_file_is_refused(numeric_bundle: Bundle, tmp_path: Path) -> None:
    path = copied(numeric_bundle, tmp_path)
    (path / "parity.json").unlink()
    with pytest.raises(BundleError, match=r"parity\.json.*no such file"):
        attempt(path, numeric_bundle.digest)


def test_an_extra_file_is_refused(numeric_bundle: Bundle, tmp_path: Path) -> None:
    path = copied(numeric_bundle, tmp_path)
    (path / "sitecustomize.py").write_text("raise SystemExit")
    with pytest.raises(BundleError, match="does not list"):
        attempt(path, numeric_bundle.digest)


def test_a_link_in_place_of_a_file_is_refused(numeric_bundle: Bundle, tmp_path: Path) -> None:
    path = copied(numeric_bundle, tmp_path)
    outside = tmp_path / "outside"
    shutil.move(path / "model.skops", outside)
    (path / "model.skops").symlink_to(outside)
    with pytest.raises(BundleError, match="link"):
        attempt(path, numeric_bundle.digest)


def test_a_special_file_is_refused_and_not_waited_for(numeric_bundle: Bundle, tmp_path: Path) -> None:
    path = copied(numeric_bundle, tmp_path)
    (path / "model.skops").unlink()
    os.mkfifo(path / "model.skops")
    with pytest.raises(BundleError, match="special file"):
        attempt(path, numeric_bundle.digest)


@pytest.mark.parametrize(
    "name", ["../escape", "/etc/passwd", "a/../../b", "x\\y", ".hidden", "a/b/c", "manifest.json"]
)
def test_a_path_trick_in_the_manifest_is_refused(name: str, numeric_bundle: Bundle, tmp_path: Path) -> None:
    path = copied(numeric_bundle, tmp_path)
    edit_manifest(path, lambda manifest: manifest["files"].update({name: manifest["files"]["model.skops"]}))
    with pytest.raises(BundleError, match="cannot hold"):
        attempt(path)


def test_an_unknown_format_version_is_refused(numeric_bundle: Bundle, tmp_path: Path) -> None:
    path = copied(numeric_bundle, tmp_path)
    edit_manifest(path, lambda manifest: manifest.update(format_version=2))
    with pytest.raises(BundleError, match="format version 2"):
        attempt(path)


def test_another_minor_of_scikit_learn_binds_the_scikit_learn_engine_only(
    numeric_bundle: Bundle, tmp_path: Path
) -> None:
    versions = numeric_bundle.manifest.versions | {"scikit-learn": "1.8.0"}
    bundle = altered(numeric_bundle, tmp_path / "old", lambda path: None, versions=versions)
    assert attempt(bundle.path).engine.name == "onnx"
    with pytest.raises(BundleError, match=r"scikit-learn 1\.8\.0"):
        attempt(bundle.path, choice=EngineChoice.SKLEARN)


def test_a_pickle_is_refused_without_permission_for_its_digest(joblib_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"model\.joblib.*--allow-joblib-digest"):
        attempt(joblib_bundle.path)
    permitted = Policy(joblib_digests=frozenset({joblib_bundle.digest}))
    model = load(joblib_bundle.path, None, permitted, EngineChoice.SKLEARN)
    assert selfcheck.check(model, Limits()) > 0


def test_a_pickle_is_not_opened_before_its_permission_is_known(joblib_bundle: Bundle, tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    def plant(path: Path) -> None:
        (path / "model.joblib").write_bytes(b"cos\nmkdir\n(V" + str(trap).encode() + b"\ntR.")

    bundle = altered(joblib_bundle, tmp_path / "trapped", plant)
    with pytest.raises(BundleError, match="pickle"):
        attempt(bundle.path)
    assert not trap.exists()


def test_a_type_outside_the_policy_is_refused_by_name(forest_bundle: Bundle, tmp_path: Path) -> None:
    from sklearn.pipeline import FunctionTransformer, make_pipeline
    from skops.io import dumps

    def plant(path: Path) -> None:
        pipeline = make_pipeline(FunctionTransformer(os.system))
        (path / "model.skops").write_bytes(dumps(pipeline))

    bundle = altered(forest_bundle, tmp_path / "foreign", plant)
    with pytest.raises(BundleError, match=r"policy does not trust: posix\.system"):
        attempt(bundle.path)


def test_an_archive_that_is_none_is_refused_in_a_sentence(forest_bundle: Bundle, tmp_path: Path) -> None:
    bundle = altered(
        forest_bundle, tmp_path / "broken", lambda path: (path / "model.skops").write_bytes(b"PK")
    )  # type: ignore[arg-type,return-value]
    with pytest.raises(BundleError, match=r"model\.skops cannot be built"):
        attempt(bundle.path)


def test_a_compiled_model_that_is_none_is_refused_in_a_sentence(
    numeric_bundle: Bundle, tmp_path: Path
) -> None:
    bundle = altered(
        numeric_bundle, tmp_path / "broken", lambda path: (path / "model.onnx").write_bytes(b"no")
    )  # type: ignore[arg-type,return-value]
    with pytest.raises(BundleError, match=r"model\.onnx cannot be loaded"):
        attempt(bundle.path)


def test_a_compiled_model_cannot_read_files_beside_it(
    numeric_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    (tmp_path / "secret").write_bytes(np.zeros(4, dtype=np.float32).tobytes())
    monkeypatch.chdir(tmp_path)

    def plant(path: Path) -> None:
        model = onnx.load(str(path / "model.onnx"))
        weight = onnx.TensorProto(
            name="stolen", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL
        )
        weight.external_data.add(key="location", value="secret")
        model.graph.initializer.append(weight)
        model.graph.node.add(op_type="Identity", input=["stolen"], output=["loot"])
        model.graph.output.add(name="loot").type.tensor_type.elem_type = 1
        (path / "model.onnx").write_bytes(model.SerializeToString())

    bundle = altered(numeric_bundle, tmp_path / "thief", plant)
    with pytest.raises(BundleError, match=r"model\.onnx cannot be loaded"):
        attempt(bundle.path)


def test_a_model_that_answers_otherwise_than_in_training_is_refused(
    numeric_bundle: Bundle, tmp_path: Path
) -> None:
    def change(path: Path) -> None:
        contract = json.loads((path / "contract.json").read_bytes())
        contract["golden"]["outputs"]["probabilities"][0][0] += 0.001
        (path / "contract.json").write_bytes(canonical_json(contract))

    bundle = altered(numeric_bundle, tmp_path / "other", change)
    with pytest.raises(BundleError, match="Golden question 0"):
        attempt(bundle.path)


def test_a_model_that_refuses_its_own_golden_questions_is_refused(
    numeric_bundle: Bundle, tmp_path: Path
) -> None:
    def change(path: Path) -> None:
        contract = json.loads((path / "contract.json").read_bytes())
        contract["golden"]["rows"][0][0] = None
        (path / "contract.json").write_bytes(canonical_json(contract))

    bundle = altered(numeric_bundle, tmp_path / "other", change)
    with pytest.raises(BundleError, match="golden questions are not what the contract"):
        attempt(bundle.path)


@pytest.mark.parametrize("name", ["", "os", "os.system()", "*", "a..b"])
def test_a_policy_trusts_whole_names_only(name: str) -> None:
    with pytest.raises(ConfigurationError):
        Policy(trusted=frozenset({name}))


def test_a_policy_allows_pickles_by_digest_only() -> None:
    with pytest.raises(ConfigurationError):
        Policy(joblib_digests=frozenset({"*"}))


def test_the_compiled_engine_needs_no_scikit_learn_in_the_process(numeric_bundle: Bundle) -> None:
    program = (
        "import sys; from pathlib import Path; import tidegate_serving.server; from serving import Predictor;"
        f"predictor = Predictor('m', Path({str(numeric_bundle.path)!r})); predictor.load();"
        "print([name for name in ('sklearn', 'skops', 'scipy', 'joblib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_commands_are_imported_without_the_heavy_libraries() -> None:
    program = (
        "import sys, serving, tidegate_serving.cli;"
        "heavy = ('sklearn', 'kserve', 'onnxruntime', 'pandas', 'grpc', 'fastapi', 'httpx');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_kserve_leaves_the_command_line_alone() -> None:
    program = (
        "import sys; sys.argv = ['x', '--timeout', '7']; import tidegate_serving._kserve, kserve.model_server as server;"
        "print(server.args.timeout_keep_alive, sys.argv)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "65 ['x', '--timeout', '7']"

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import platform
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.training import mixed_configuration, write_loans
from tests.unit.training.test_cli import run
from tidegate.bundle import MODEL_CARD, PROVENANCE, Bundle, open_bundle, seal
from tidegate.errors import BundleError, ConfigurationError, GateNotPassedError
from tidegate.store import Store
from tidegate_training import environment, reproduction
from tidegate_training.provenance import IMAGE_VARIABLE
from tidegate_training.reproduction import Difference, Reproduction, reproduce
from tidegate_training.run import train

CONFIG = mixed_configuration(
    algorithm={
        "name": "RandomForestClassifier",
        "parameters": {"n_estimators": 3, "class_weight": {"yes": 2.0, "no": 1.0}},
    },
    gates={"test.f1": ">= 0.5", "gap.f1": "<= 0.5"},
)
"""The fields are in another order than in the provenance, which sorts them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduction")
    write_loans(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(IMAGE_VARIABLE, "training@sha256:2")
        train(CONFIG, folder / "bundle", base_dir=folder)
    return folder


@pytest.fixture
def bundle(folder: Path) -> Bundle:
    return open_bundle(folder / "bundle")


def returning(bundle: Bundle) -> Any:
    """Return a training that ends with a bundle at once."""
    return lambda *_, **__: SimpleNamespace(bundle=bundle, evaluation=SimpleNamespace(gates=[]))


def test_train_verify_runs_the_recorded_configuration(
    folder: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = Store((folder / "store").as_uri()).push(bundle)
    monkeypatch.chdir(folder)
    result = run("--verify", str(reference), "-o", "json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["verdict"], document["new_digest"]) == ("identical", bundle.digest)
    assert document["differences"] == []


def test_reproduce_with_other_bits_compares_the_predictions(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(bundle.path, tmp_path / "bundle")
    (folder / MODEL_CARD).write_text("# Another text\n")
    fields = bundle.manifest.model_dump(exclude={"format_version", "files"})
    monkeypatch.setattr(reproduction, "train", returning(seal(folder, **fields)))
    result = reproduce(bundle, CONFIG.model_copy(update={"golden_rows": 9}), tmp_path)
    assert (result.verdict, result.files) == ("equivalent", [MODEL_CARD])
    assert "are within the tolerance" in result.sentences()[0]
    result.require()


def test_train_verify_of_another_model_is_a_missed_gate(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    lines = (folder / "loans.csv").read_text().splitlines()
    (tmp_path / "loans.csv").write_text("\n".join(lines[:-30]))
    file = tmp_path / "train.yaml"
    file.write_text(
        CONFIG.model_copy(update={"seed": 7, "gates": {"test.f1": ">= 1.1"}}).model_dump_json(
            exclude_unset=True
        )
    )
    result = run(file, "--verify", bundle.path)
    assert isinstance(result.exception, GateNotPassedError)
    for words in (
        "is not reproduced: golden request, row",
        "test.f1 >= 1.1 is missed by 0.",
        "data.rows: 180, and now 150",
        "seed: 0, and now 7",
    ):
        assert words in str(result.exception)
        assert words.removeprefix("is not reproduced: ") in result.stdout
    assert f"instead of sha256:{bundle.digest}" in result.stdout


def test_reproduce_names_what_differs(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(bundle.path, tmp_path / "bundle")
    provenance = json.loads((folder / PROVENANCE).read_bytes())
    threads = provenance["environment"]["threads"]
    provenance["environment"] |= {"threads": 4, "processor": "Example CPU", "python": "3.9.0"}
    provenance["configuration"]["golden_rows"] = 9
    provenance["image"] = "training@sha256:1"
    (folder / PROVENANCE).write_text(json.dumps(provenance))
    versions = bundle.manifest.versions | {"numpy": "1.0"}
    recorded = Bundle(folder, bundle.digest, bundle.manifest.model_copy(update={"versions": versions}))
    monkeypatch.setattr(reproduction, "train", returning(bundle))
    result = reproduce(recorded, CONFIG, tmp_path)
    assert result.verdict == "identical"
    assert list(map(str, result.differences)) == [
        f"version of numpy: 1.0, and now {bundle.manifest.versions['numpy']}",
        "image: training@sha256:1, and now training@sha256:2",
        f"processor: Example CPU, and now {environment.describe_environment()['processor']}",
        f"python: 3.9.0, and now {platform.python_version()}",
        f"threads: 4, and now {threads}",
        "configuration.golden_rows: 9, and now nothing",
    ]


@pytest.mark.parametrize("content", [None, b"{}", b"damaged", b'{"configuration": {"name": "a"}}'])
def test_reproduce_without_a_valid_configuration_is_an_error(
    bundle: Bundle, tmp_path: Path, content: bytes | None
) -> None:
    moved = shutil.copytree(bundle.path, tmp_path / "bundle")
    (moved / PROVENANCE).unlink() if content is None else (moved / PROVENANCE).write_bytes(content)
    with pytest.raises(BundleError, match="give the configuration: tidegate train CONFIG --verify"):
        reproduce(open_bundle(moved), None, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [((), "CONFIG is missing"), (("--verify", "x", "--out", "y"), "--verify keeps no bundle: remove --out")],
)
def test_train_arguments_that_do_not_fit_are_rejected(arguments: tuple[str, ...], problem: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, ConfigurationError)
    assert problem in str(error)


def test_reproduction_without_a_known_cause_says_so() -> None:
    result = Reproduction(
        "iris", "a", "b", "different", ["model.skops"], ["row 0: label 1, and now 2"], [], []
    )
    assert "No recorded fact differs" in result.sentences()[-1]
    assert str(Difference("seed", None, 1)) == "seed: nothing, and now 1"
    with pytest.raises(GateNotPassedError, match=r"label 1, and now 2\. Differs: no recorded fact"):
        result.require()

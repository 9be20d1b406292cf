# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The example of code of one's own, as a user runs it: another process that imports the package."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.servers import LiveServer, serving
from tests.support.trained_bundles import altered
from tidegate.bundle import ONNX, PARITY, SKOPS, Bundle
from tidegate.console import OutputFormat
from tidegate.digest import canonical_json
from tidegate.errors import BundleError, GateNotPassedError
from tidegate.protocol.constants import Protocol
from tidegate.settings import load_yaml
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import TRUSTED_TYPES, Policy
from tidegate_serving import cli
from tidegate_serving.loading.loader import load
from tidegate_training.bundling.persistence import to_skops
from tidegate_training.config import TrainingConfig
from tidegate_training.run import train

EXAMPLES = Path(__file__).parents[3] / "examples"
PACKAGE = EXAMPLES / "custom-predictor"
PREDICTOR = "loan_rules.predictor:LoanPredictor"
TRANSFORMER = "loan_rules.features.IncomeCap"
LOAN = {
    "age": 33,
    "monthly_income": 4204.18,
    "loan_amount": 5461.37,
    "term_months": 36,
    "employment_years": 9.3,
    "purpose": "furniture",
    "housing": "owner",
    "existing_customer": True,
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    file = EXAMPLES / "credit-risk" / "train.yaml"
    folder = tmp_path_factory.mktemp("credit") / "bundle"
    return train(load_yaml(file, TrainingConfig), folder, base_dir=file.parent).bundle


@pytest.fixture(scope="module")
def server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    log = tmp_path_factory.mktemp("log") / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PACKAGE))  # instead of `pip install`
        with serving(bundle, log, "--predictor", PREDICTOR) as live:
            yield live


@pytest.fixture
def _package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(PACKAGE)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "loan_rules"]:
        del sys.modules[name]


def infer(server: LiveServer, **changes: object) -> httpx.Response:
    url = f"{server.http}/v1/models/{server.name}:predict"
    return httpx.post(url, json={"instances": [LOAN | changes]}, timeout=30)


def test_example_decides_at_its_own_threshold(server: LiveServer, bundle: Bundle) -> None:
    contract = bundle.contract
    index = contract.labels.index("yes")
    rows = [dict(zip(contract.feature_names, row, strict=True)) for row in contract.golden.rows]
    url = f"{server.http}/v1/models/{server.name}:predict"
    served = httpx.post(url, json={"instances": rows}, timeout=30).json()["predictions"]
    probabilities = [values[index] for values in contract.golden.outputs["probabilities"]]  # type: ignore
    assert served == ["yes" if probability >= 0.25 else "no" for probability in probabilities]
    assert served != contract.golden.outputs["label"], "the threshold changes no golden row"


def test_example_rejects_a_minor_with_its_message(server: LiveServer) -> None:
    response = infer(server, age=17)
    assert (response.status_code, response.json()) == (400, {"error": "age: expected 18 or more."})
    assert infer(server).status_code == 200


def served_probabilities(server: LiveServer, income: float) -> list[float]:
    kinds = {bool: "BOOL", int: "INT64", float: "FP32", str: "BYTES"}
    inputs = [
        {"name": name, "shape": [1], "datatype": kinds[type(value)], "data": [value]}
        for name, value in (LOAN | {"monthly_income": income}).items()
    ]
    url = f"{server.http}/v2/models/{server.name}/infer"
    outputs = httpx.post(url, json={"inputs": inputs}, timeout=30).json()["outputs"]
    [values] = [output["data"] for output in outputs if output["name"] == "probabilities"]
    return values


def test_example_caps_the_income(server: LiveServer) -> None:
    assert served_probabilities(server, 1e6) == served_probabilities(server, 10_000.0)
    assert served_probabilities(server, 1e6) != served_probabilities(server, 2_000.0)


@pytest.mark.usefixtures("_package")
@pytest.mark.parametrize("protocol", list(Protocol))
def test_example_equals_its_golden_outputs_by_each_protocol(
    server: LiveServer, bundle: Bundle, protocol: Protocol, capsys: pytest.CaptureFixture[str]
) -> None:
    def predict(predictor: str | None) -> None:
        cli.predict(
            url=server.http,
            grpc=server.grpc,
            protocol=protocol,
            golden=str(bundle.path),
            predictor=predictor,
            output=OutputFormat.JSON,
        )

    predict(PREDICTOR)
    assert json.loads(capsys.readouterr().out)["golden"]["equal"]
    with pytest.raises(GateNotPassedError, match="other outputs than scikit-learn computed"):
        predict(None)


# A transformer of one's own


@pytest.fixture
def capped(bundle: Bundle, tmp_path: Path, _package: None) -> Bundle:
    """The example's bundle, whose pipeline begins with the example's transformer."""
    from loan_rules.features import IncomeCap
    from sklearn.pipeline import Pipeline

    def insert_transformer(folder: Path) -> None:
        trained = build_pipeline(bundle.read(SKOPS), Policy())
        pipeline = Pipeline([("cap", IncomeCap(maximum=10_000.0)), *trained.steps])
        (folder / SKOPS).write_bytes(to_skops(pipeline))
        (folder / ONNX).unlink()
        (folder / PARITY).write_bytes(canonical_json({"verdict": "not compiled", "reason": TRANSFORMER}))

    return altered(bundle, tmp_path / "capped", insert_transformer)


def test_transformer_is_rejected_with_the_option_to_set(capped: Bundle) -> None:
    with pytest.raises(BundleError, match=rf"does not trust: {TRANSFORMER}; .*--trusted-type"):
        load(capped.path, capped.digest, Policy())


def test_transformer_without_its_package_is_rejected(capped: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("loan_rules", "loan_rules.features"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(PACKAGE)])
    with pytest.raises(BundleError, match=r"cannot be built: ModuleNotFoundError: .*'loan_rules'"):
        load(capped.path, capped.digest, Policy(TRUSTED_TYPES | {TRANSFORMER}))


def test_transformer_is_served_if_its_type_is_trusted(
    capped: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE))
    with serving(capped, tmp_path / "log", "--trusted-type", TRANSFORMER) as server:
        assert served_probabilities(server, 1e6) == served_probabilities(server, 10_000.0)
        assert served_probabilities(server, 1e6) != served_probabilities(server, 2_000.0)

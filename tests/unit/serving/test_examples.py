# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The example of a predictor of one's own, as a user runs it: another process that imports the package."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.servers import LiveServer, serving
from tidegate.bundle import Bundle
from tidegate.console import OutputFormat
from tidegate.errors import GateNotPassedError
from tidegate.protocol.constants import Protocol
from tidegate.settings import load_yaml
from tidegate_serving import cli
from tidegate_training.config import TrainingConfig
from tidegate_training.run import train

EXAMPLES = Path(__file__).parents[3] / "examples"
PACKAGE = EXAMPLES / "custom-predictor"
PREDICTOR = "loan_rules.predictor:LoanPredictor"
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
    assert served == ["yes" if probability >= 0.2 else "no" for probability in probabilities]
    assert served != contract.golden.outputs["label"], "the threshold changes no golden row"


def test_example_rejects_a_minor_with_its_message(server: LiveServer) -> None:
    response = infer(server, age=17)
    assert (response.status_code, response.json()) == (400, {"error": "age: expected 18 or more."})
    assert infer(server).status_code == 200


def test_example_caps_the_income(server: LiveServer) -> None:
    url = f"{server.http}/v2/models/{server.name}/infer"

    def probabilities(income: float) -> list[float]:
        values = LOAN | {"monthly_income": income}
        kinds = {bool: "BOOL", int: "INT64", float: "FP32", str: "BYTES"}
        inputs = [
            {"name": name, "shape": [1], "datatype": kinds[type(value)], "data": [value]}
            for name, value in values.items()
        ]
        outputs = httpx.post(url, json={"inputs": inputs}, timeout=30).json()["outputs"]
        [values] = [output["data"] for output in outputs if output["name"] == "probabilities"]
        return values

    assert probabilities(1e6) == probabilities(10_000.0) != probabilities(2_000.0)


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

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from tidegate_serving import Predictor, Server
from tidegate_serving._kserve import InferInput, InferRequest, Model, ModelServer
from tidegate_serving.errors import RequestError

from tidegate.bundle import Bundle
from tidegate.contract import close
from tidegate.errors import BundleError, ServerError


@pytest.fixture
def predictor(regression_bundle: Bundle) -> Iterator[Predictor]:
    before = set(REGISTRY._collector_to_names)
    made = Predictor("diabetes", regression_bundle.path, regression_bundle.digest)
    made.load()
    yield made
    made.stop()
    for collector in set(REGISTRY._collector_to_names) - before:
        REGISTRY.unregister(collector)


def test_predictor_and_server_are_kserves_own_kinds() -> None:
    assert issubclass(Predictor, Model)
    assert issubclass(Server, ModelServer)


def test_a_dictionary_and_an_infer_request_get_the_golden_answers(
    predictor: Predictor, regression_bundle: Bundle
) -> None:
    golden = regression_bundle.contract.golden
    expected = golden.outputs["prediction"]
    rows = [list(row) for row in golden.rows]
    answered = asyncio.run(predictor.predict({"instances": rows}))["predictions"]
    flat = [value for row in rows for value in row]
    request = InferRequest("diabetes", [InferInput("input-0", [len(rows), 10], "FP32", flat)])
    response = asyncio.run(predictor.predict(request))
    for found in (answered, response.outputs[0].as_numpy().tolist()):
        for answer, known in zip(found, expected, strict=True):
            assert close(answer, known, golden.tolerance)


def test_a_mistake_is_raised_as_a_refusal(predictor: Predictor) -> None:
    with pytest.raises(RequestError, match="expected 10 values"):
        asyncio.run(predictor.predict({"instances": [[1]]}))


def test_metadata_by_kserves_conventions(predictor: Predictor) -> None:
    assert predictor.get_input_types() == [{"name": "input-0", "datatype": "FP32", "shape": [-1, 10]}]
    assert predictor.get_output_types() == [{"name": "prediction", "datatype": "FP32", "shape": [-1]}]


def test_nothing_but_loading_makes_a_model_ready(regression_bundle: Bundle, tmp_path: Path) -> None:
    unloaded = Predictor("m", regression_bundle.path)
    unloaded.start()
    assert not unloaded.ready
    with pytest.raises(ServerError):
        _ = unloaded.service
    refused = Predictor("m", regression_bundle.path, "0" * 64)
    with pytest.raises(BundleError):
        refused.load()
    assert not refused.ready

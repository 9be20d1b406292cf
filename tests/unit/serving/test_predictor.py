# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tidegate.bundle import Bundle
from tidegate.errors import BundleError, ServerError
from tidegate_serving import Predictor, Server
from tidegate_serving._kserve import InferInput, InferRequest, Model, ModelServer
from tidegate_serving.errors import RequestError


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def predictor(regression_bundle: Bundle, registry: CollectorRegistry) -> Iterator[Predictor]:
    loaded = Predictor("diabetes", regression_bundle.path, regression_bundle.digest, registry=registry)
    loaded.load()
    yield loaded
    loaded.stop()


def test_predictor_and_server_are_kserves_own_classes() -> None:
    assert issubclass(Predictor, Model)
    assert issubclass(Server, ModelServer)


def test_infer_returns_the_golden_outputs_for_both_payloads(
    predictor: Predictor, regression_bundle: Bundle
) -> None:
    golden = regression_bundle.contract.golden
    expected = golden.outputs["prediction"]
    rows = [list(row) for row in golden.rows]
    predictions = asyncio.run(predictor.infer({"instances": rows}))["predictions"]
    flat = [value for row in rows for value in row]
    request = InferRequest("diabetes", [InferInput("input-0", [len(rows), 10], "FP32", flat)])
    response = asyncio.run(predictor.infer(request))
    for values in (predictions, response.outputs[0].as_numpy().tolist()):
        for actual, known in zip(values, expected, strict=True):
            assert golden.is_close(actual, known)


def test_infer_invalid_payload_raises_a_request_error(predictor: Predictor) -> None:
    with pytest.raises(RequestError, match="expected 10 values"):
        asyncio.run(predictor.infer({"instances": [[1]]}))


def test_predictor_types_are_the_model_metadata(predictor: Predictor) -> None:
    assert predictor.get_input_types() == [{"name": "input-0", "datatype": "FP32", "shape": [-1, 10]}]
    assert predictor.get_output_types() == [{"name": "prediction", "datatype": "FP32", "shape": [-1]}]


def test_load_exposes_the_model_in_its_registry(
    predictor: Predictor, registry: CollectorRegistry, regression_bundle: Bundle
) -> None:
    info = [
        sample for family in registry.collect() for sample in family.samples if "model_info" in sample.name
    ]
    assert info[0].labels["digest"] == regression_bundle.digest


def test_start_without_load_leaves_the_model_unready(regression_bundle: Bundle) -> None:
    unloaded = Predictor("m", regression_bundle.path)
    unloaded.start()
    assert not unloaded.ready
    with pytest.raises(ServerError, match="not loaded"):
        _ = unloaded.service


def test_load_of_another_digest_leaves_the_model_unready(regression_bundle: Bundle) -> None:
    rejected = Predictor("m", regression_bundle.path, "0" * 64)
    with pytest.raises(BundleError):
        rejected.load()
    assert not rejected.ready


def test_stop_makes_the_model_unready(predictor: Predictor) -> None:
    assert predictor.ready
    predictor.stop()
    assert not predictor.ready


def test_stop_of_an_unloaded_predictor_does_nothing(tmp_path: Path) -> None:
    Predictor("m", tmp_path).stop()

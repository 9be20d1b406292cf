# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import json
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from tests.support.contracts import MATRIX, MIXED, contract
from tests.support.fakes import FakeEngine
from tidegate.baseline import Baseline, CategoryBins, NumericBins
from tidegate.contract import Contract, DecisionThreshold
from tidegate_serving.codecs.request import InferenceRequest, Limits
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.observability.drift_monitor import DriftMonitor
from tidegate_serving.observability.metrics import Metrics
from tidegate_serving.observability.request_metrics import Record
from tidegate_serving.service import Service

NUMBERS = NumericBins(np.array([0.0]), np.array([1, 1, 1]))
LABELS = CategoryBins(("0", "1", "other"), {"": 3, "0": 0, "1": 1}, np.array([1, 1, 1, 1]))
BODY = b'{"instances": [[1], [3]]}'
DOUBLED = b'{"predictions":[2.0,6.0]}'
ONE_FEATURE = contract([{"name": "a", "datatype": "FP32"}], [{"name": "label", "datatype": "FP32"}])


def new_service(contract: Contract, engine: Any, registry: CollectorRegistry) -> Service:
    model: Any = SimpleNamespace(contract=contract, engine=engine, version="0123456789ab")
    baseline = Baseline(dict.fromkeys(contract.feature_names, NUMBERS), LABELS)
    monitor = DriftMonitor(contract, baseline, registry)
    return Service("test", model, Limits(rows=10), Metrics(registry, "test"), monitor)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def service(engine: FakeEngine, registry: CollectorRegistry) -> Iterator[Service]:
    made = new_service(ONE_FEATURE, engine, registry)
    yield made
    engine.unblock()
    made.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scenario(), 60)

    asyncio.run(main())


@pytest.mark.parametrize("version", [None, "", "0123456789ab"])
def test_validate_model_accepts_its_name_and_version(service: Service, version: str | None) -> None:
    service.validate_model("test", version)


@pytest.mark.parametrize(
    ("name", "version", "received", "expected"),
    [("other", None, "'other'", "'test'"), ("test", "1", "'1'", "'0123456789ab'")],
)
def test_validate_model_rejects_another_as_not_found(
    service: Service, name: str, version: str | None, received: str, expected: str
) -> None:
    with pytest.raises(RequestError) as caught:
        service.validate_model(name, version)
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert received in str(caught.value)
    assert f"expected {expected}" in str(caught.value)


def test_infer_computes_and_encodes_both_protocols(service: Service) -> None:
    async def scenario() -> None:
        record = Record()
        result = await service.infer(lambda: service.parse_v1(BODY), record)
        assert record.rows == 2
        assert service.encode_v1(*result) == (DOUBLED, None)
        tensor = {"name": "input-0", "shape": [1, 1], "datatype": "FP32", "data": [5]}
        body = json.dumps({"id": "7", "inputs": [tensor], "outputs": [{"name": "label"}]}).encode()
        result = await service.infer(lambda: service.parse_v2(body, None), Record())
        document = json.loads(service.encode_v2(*result)[0])
        assert (document["id"], document["model_version"]) == ("7", "0123456789ab")
        assert [(output["name"], output["data"]) for output in document["outputs"]] == [("label", [10.0])]

    run(scenario)


def test_infer_of_a_failing_request_fails_that_request_only(service: Service) -> None:
    async def scenario() -> None:
        bodies = (BODY, b'{"instances": [[-5]]}', b'{"instances": [[1], ["x"]]}')
        calls = (service.infer(lambda body=body: service.parse_v1(body), Record()) for body in bodies)
        good, failed, invalid = await asyncio.gather(*calls, return_exceptions=True)
        assert not isinstance(good, BaseException)
        assert service.encode_v1(*good)[0] == DOUBLED
        assert isinstance(failed, RequestError)
        assert failed.code is ErrorCode.INTERNAL
        assert isinstance(invalid, RequestError)
        assert invalid.code is ErrorCode.INVALID_ARGUMENT
        assert "instances[1][0]" in str(invalid)

    run(scenario)


def test_infer_of_an_invalid_body_raises_before_the_queue(service: Service) -> None:
    async def scenario() -> None:
        with pytest.raises(RequestError, match="instances"):
            await service.infer(lambda: service.parse_v1(b"{}"), Record())
        assert service.batcher.queued_rows == 0

    run(scenario)


def test_infer_cancelled_while_queued_is_not_computed(service: Service, engine: FakeEngine) -> None:
    async def scenario() -> None:
        def infer() -> "asyncio.Task[tuple[InferenceRequest, Any]]":
            return asyncio.ensure_future(service.infer(lambda: service.parse_v1(BODY), Record()))

        engine.block()
        first = infer()
        await engine.entered()
        second = infer()
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        engine.unblock()
        request, result = await first
        assert len(request.inputs) == len(result) == 2

    run(scenario)


def test_infer_cancelled_while_computed_drops_the_result(service: Service, engine: FakeEngine) -> None:
    async def scenario() -> None:
        engine.block()
        task = asyncio.ensure_future(service.infer(lambda: service.parse_v1(BODY), Record()))
        await engine.entered()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        engine.unblock()
        _, result = await service.infer(lambda: service.parse_v1(BODY), Record())
        assert result.array("label").tolist() == [2, 6]

    run(scenario)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("body", [b'{"instances": [["x"]]}', b"{}"])
def test_infer_error_leaves_no_reference_cycle(body: bytes, service: Service) -> None:
    async def scenario() -> None:
        def parse() -> InferenceRequest:
            return service.parse_v1(body)

        parser = weakref.ref(parse)
        with suppress(RequestError):
            await service.infer(parse, Record())
        del parse
        await asyncio.sleep(0)  # the callback that ran this call has the error's future
        service.close()  # and the engine's thread the batch's outcomes, until it has ended
        assert parser() is None

    run(scenario)


@pytest.mark.usefixtures("no_collection")
def test_infer_rejection_leaves_no_reference_cycle(service: Service) -> None:
    errors: list[weakref.ref[RequestError]] = []

    def reject(now: float) -> None:
        error = RequestError("Server overloaded.", ErrorCode.RESOURCE_EXHAUSTED)
        errors.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    async def scenario() -> None:
        service.batcher.reject_if_overloaded = reject  # type: ignore[method-assign]
        service.batcher.rejection_seconds = 0
        with suppress(RequestError):
            await service.infer(lambda: service.parse_v1(BODY), Record())
        assert [error() for error in errors] == [None]

    run(scenario)


def test_infer_past_its_deadline_is_rejected(service: Service, engine: FakeEngine) -> None:
    async def scenario() -> None:
        engine.block()
        first = asyncio.ensure_future(service.infer(lambda: service.parse_v1(BODY), Record()))
        await engine.entered()
        late = asyncio.ensure_future(service.infer(lambda: service.parse_v1(BODY), Record(), 1e-6))
        await asyncio.sleep(0)
        engine.unblock()
        await first
        with pytest.raises(RequestError) as caught:
            await late
        assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED

    run(scenario)


def test_record_error_counts_reason_and_violation(service: Service, registry: CollectorRegistry) -> None:
    with pytest.raises(RequestError) as caught:
        service.parse_v1(b'{"instances": [{"a": 1, "c": 2}]}')
    service.record_error(caught.value)
    rejected = registry.get_sample_value("tidegate_requests_rejected_total", {"reason": "invalid_argument"})
    labels = {"feature": "other", "kind": "unexpected_feature"}
    assert rejected == 1
    assert registry.get_sample_value("tidegate_input_violations_total", labels) == 1


def test_model_metadata_of_a_matrix_is_one_input() -> None:
    service = new_service(MATRIX, FakeEngine(), CollectorRegistry())
    metadata = service.model_metadata()
    service.close()
    assert metadata == {
        "name": "test",
        "versions": ["0123456789ab"],
        "platform": "fake",
        "inputs": [{"name": "input-0", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {
                "name": "probabilities",
                "datatype": "FP32",
                "shape": [-1, 2],
                "parameters": {"labels": [0, 1]},
            },
        ],
    }


def test_model_metadata_of_the_label_has_the_threshold() -> None:
    threshold = DecisionThreshold(positive_label=1, value=0.3)
    decided = MATRIX.model_copy(update={"threshold": threshold})
    service = new_service(decided, FakeEngine(), CollectorRegistry())
    label, probabilities = service.model_metadata()["outputs"]
    service.close()
    assert label["parameters"] == {"positive_label": 1, "threshold": 0.3}
    assert probabilities["parameters"] == {"labels": [0, 1]}


def test_model_metadata_of_mixed_types_is_one_input_per_feature() -> None:
    service = new_service(MIXED, FakeEngine(), CollectorRegistry())
    inputs = service.model_metadata()["inputs"]
    service.close()
    assert [(entry["name"], entry["datatype"], entry["shape"]) for entry in inputs] == [
        ("size", "FP32", [-1]),
        ("count", "INT64", [-1]),
        ("flag", "BOOL", [-1]),
        ("colour", "BYTES", [-1]),
        ("city", "BYTES", [-1]),
    ]


def test_server_metadata_names_the_binary_extension(service: Service) -> None:
    metadata = service.server_metadata("1.2.3")
    assert metadata == {"name": "tidegate", "version": "1.2.3", "extensions": ["binary_tensor_data"]}

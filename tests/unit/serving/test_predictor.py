# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from tidegate.batch import Array
from tidegate.bundle import Bundle
from tidegate.errors import BundleError, ConfigurationError, ServerError
from tidegate_serving import Predictor, Server
from tidegate_serving._kserve import InferInput, InferRequest, Model, ModelServer
from tidegate_serving.engines.onnx import OnnxEngine
from tidegate_serving.errors import ErrorCode, RequestError
from tidegate_serving.hooks import HookedEngine
from tidegate_serving.predictor import import_predictor


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


# Hooks


@contextmanager
def loaded(kind: type[Predictor], bundle: Bundle) -> Iterator[Predictor]:
    predictor = kind("diabetes", bundle.path, bundle.digest, registry=CollectorRegistry())
    predictor.load()
    yield predictor
    predictor.stop()


class Unchanged(Predictor):
    """Adds an attribute, and overrides no hook."""

    team = "risk"


class Shifted(Predictor):
    """Adds one to the rows that the model receives, and doubles its outputs."""

    def preprocess(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        return {name: array + np.float32(1) for name, array in inputs.items()}

    def postprocess(self, outputs: dict[str, Array]) -> Mapping[str, Array]:
        outputs["prediction"] = outputs["prediction"] * np.float32(2)
        return outputs


class Fallback(Predictor):
    """Computes rows with a negative first feature by a rule, and the others with the model."""

    def predict(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        age = inputs["input-0"][:, self.contract.feature_names.index("age")]
        model = super().predict(inputs)["prediction"]
        return {"prediction": np.where(age < 0, np.float32(-1), model)}


class Picky(Predictor):
    """Rejects one value, and fails on another."""

    def preprocess(self, inputs: dict[str, Array]) -> Mapping[str, Array]:
        first = inputs["input-0"][:, 0]
        if (first == 7).any():
            raise RequestError("age: expected another number than 7.")
        if (first == 8).any():
            raise ZeroDivisionError("a secret of the server")
        return inputs


def requests(predictor: Predictor, *rows: list[float]) -> list[Any]:
    """Return the prediction or the error of each row, sent as requests of one batch."""

    async def send() -> list[Any]:
        payloads = [predictor.infer({"instances": [row]}) for row in rows]
        return await asyncio.gather(*payloads, return_exceptions=True)

    return [
        outcome if isinstance(outcome, Exception) else outcome["predictions"][0]
        for outcome in asyncio.run(send())
    ]


def row(first: float) -> list[float]:
    return [first, *[0.0] * 9]


def test_predictor_without_hooks_keeps_the_fast_path(regression_bundle: Bundle) -> None:
    with loaded(Unchanged, regression_bundle) as predictor:
        service = predictor.service
        assert type(service.model.engine) is OnnxEngine
        assert service.batcher._run.args == (service.model.engine,)
        assert service.batcher._on_result == service.drift_monitor.record_batch


def test_predictor_with_hooks_serves_their_outputs(predictor: Predictor, regression_bundle: Bundle) -> None:
    rows = [list(map(float, golden)) for golden in regression_bundle.contract.golden.rows[:2]]
    shifted = [[value + 1 for value in each] for each in rows]
    expected = [2 * value for value in requests(predictor, *shifted)]
    with loaded(Shifted, regression_bundle) as hooked:
        assert requests(hooked, *rows) == pytest.approx(expected, rel=1e-5)
        assert hooked.golden_outputs["prediction"][:2] == pytest.approx(expected, rel=1e-5)
        assert isinstance(hooked.service.model.engine, HookedEngine)


def test_predictor_with_hooks_measures_the_drift_of_the_model(regression_bundle: Bundle) -> None:
    with loaded(Shifted, regression_bundle) as hooked:
        recorded: list[tuple[Any, Any]] = []
        hooked.service.drift_monitor.record_batch = lambda *values: recorded.append(values)  # type: ignore
        [served] = requests(hooked, row(0.5))
    [(batch, outputs)] = recorded
    assert batch.arrays["input-0"][0, 0] == 1.5
    assert 2 * outputs["prediction"][0] == pytest.approx(served)


def test_predict_override_can_call_the_model(predictor: Predictor, regression_bundle: Bundle) -> None:
    [expected] = requests(predictor, row(0.5))
    with loaded(Fallback, regression_bundle) as hooked:
        assert requests(hooked, row(-0.5), row(0.5)) == [-1, expected]
        assert hooked.service.model_metadata()["platform"] == "predictor"


def test_hook_that_raises_fails_only_its_request(
    predictor: Predictor, regression_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    [expected] = requests(predictor, row(0.5))
    with loaded(Picky, regression_bundle) as hooked:
        rejected, failed, computed = requests(hooked, row(7), row(8), row(0.5))
    assert (rejected.code, str(rejected)) == (
        ErrorCode.INVALID_ARGUMENT,
        "age: expected another number than 7.",
    )
    assert failed.code is ErrorCode.INTERNAL
    assert "secret" not in str(failed)
    assert "a secret of the server" in caplog.text
    assert computed == pytest.approx(expected)


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        (
            lambda self, outputs: {"prediction": outputs["prediction"].astype("f8")},
            "HookError: postprocess: ",
        ),
        (lambda self, outputs: outputs["score"], "KeyError: 'score'"),
        (lambda self, outputs: outputs["prediction"].fill(0), "ValueError: .*read-only"),
    ],
    ids=["type", "exception", "write"],
)
def test_load_with_a_hook_that_fails_is_unready(
    hook: Callable[..., Any], problem: str, regression_bundle: Bundle
) -> None:
    kind = type("Broken", (Predictor,), {"postprocess": hook})
    predictor = kind("m", regression_bundle.path, registry=CollectorRegistry())
    with pytest.raises(ConfigurationError, match=f"The predictor Broken fails on the golden .*{problem}"):
        predictor.load()
    assert not predictor.ready


def test_load_with_a_hook_that_rejects_is_unready(regression_bundle: Bundle) -> None:
    def reject(self: Any, inputs: Any) -> Any:
        raise RequestError("age: expected less.")

    kind = type("Strict", (Predictor,), {"preprocess": reject})
    predictor = kind("m", regression_bundle.path, registry=CollectorRegistry())
    with pytest.raises(
        ConfigurationError, match=r"Strict rejects the golden requests .*: age: expected less"
    ):
        predictor.load()
    assert not predictor.ready


def test_call_returns_the_response_as_kserves_class_does(predictor: Predictor) -> None:
    body = {"instances": [row(0.5)]}
    assert asyncio.run(predictor(body)) == (asyncio.run(predictor.infer(body)), {})


def test_contract_of_an_unloaded_predictor_raises(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="not loaded"):
        _ = Predictor("m", tmp_path).contract


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an importable module with predictors."""
    name = "own_predictors"
    (tmp_path / f"{name}.py").write_text(
        "from tidegate_serving import Predictor\n"
        "class Own(Predictor): pass\n"
        "class Awaited(Predictor):\n"
        "    async def preprocess(self, inputs): return inputs\n"
        "class Other: pass\n"
        "def function(): pass\n"
    )
    (tmp_path / "broken_predictors.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for imported in (name, "broken_predictors"):
        sys.modules.pop(imported, None)


def test_import_predictor_returns_the_class(module: str) -> None:
    found = import_predictor(f"{module}:Own")
    assert issubclass(found, Predictor)
    assert found.__name__ == "Own"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("own_predictors", "is not a class: expected package.module:Class"),
        ("own_predictors.Own", "is not a class"),
        ("own_predictors:", "is not a class"),
        ("../own_predictors:Own", "is not a class"),
        ("no_such_module:Own", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("broken_predictors:Own", "cannot be imported: .*No module named 'no_such_dependency'"),
        ("own_predictors:Missing", "the module own_predictors has no class Missing"),
        ("own_predictors:Other", "expected a subclass of tidegate_serving.Predictor"),
        ("own_predictors:function", "expected a subclass of tidegate_serving.Predictor"),
        ("own_predictors:Awaited", "preprocess is a coroutine function"),
    ],
)
@pytest.mark.usefixtures("module")
def test_import_predictor_rejects_in_one_sentence(path: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        import_predictor(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)

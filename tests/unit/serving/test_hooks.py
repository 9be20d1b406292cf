# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.contracts import MATRIX, MIXED, contract
from tests.support.fakes import FakeEngine
from tidegate.batch import Array, Batch
from tidegate_serving.hooks import (
    HookedEngine,
    HookError,
    Hooks,
    read_only,
    validate_hook_inputs,
    validate_hook_outputs,
)

ONE = contract([{"name": "a", "datatype": "FP32"}], [{"name": "label", "datatype": "FP32"}])
TEXTS = contract(
    [{"name": "a", "datatype": "FP32"}],
    [{"name": "label", "datatype": "BYTES"}, {"name": "scores", "datatype": "FP32", "width": 2}],
)


def batch(*values: float) -> Batch:
    return Batch({"input-0": np.array([values], np.float32).T})


def add_one(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: array + np.float32(1) for name, array in arrays.items()}


def fail(arrays: dict[str, Array]) -> dict[str, Array]:
    raise AssertionError("must not be called")


def test_hooks_without_a_hook_are_false() -> None:
    assert not Hooks()
    assert Hooks(preprocess=add_one) and Hooks(predict=add_one) and Hooks(postprocess=add_one)  # noqa: PT018


def test_run_calls_the_hooks_around_the_engine() -> None:
    engine = HookedEngine(FakeEngine(), ONE, Hooks(preprocess=add_one, postprocess=add_one))
    outputs = engine.run(batch(1, 3))
    assert outputs["label"].tolist() == [5, 9]
    assert engine.name == "fake"


def test_run_keeps_the_models_rows_and_outputs_for_drift() -> None:
    engine = HookedEngine(FakeEngine(), ONE, Hooks(preprocess=add_one, postprocess=add_one))
    outputs = engine.run(batch(1, 3))
    assert outputs.batch.arrays["input-0"].tolist() == [[2], [4]]
    assert outputs.outputs["label"].tolist() == [4, 8]


def test_run_with_predict_does_not_call_the_engine() -> None:
    inner = FakeEngine()
    engine = HookedEngine(
        inner, ONE, Hooks(predict=lambda inputs: {"label": inputs["input-0"].reshape(-1) * np.float32(10)})
    )
    outputs = engine.run(batch(1, 3))
    assert outputs["label"].tolist() == outputs.outputs["label"].tolist() == [10, 30]
    assert inner.batch_rows == []
    assert (engine.name, engine.platform) == ("predictor", "predictor")


@pytest.mark.parametrize(
    ("hooks", "received"),
    [(Hooks(preprocess=add_one), frozenset({"label"})), (Hooks(postprocess=add_one), None)],
    ids=["preprocess", "postprocess"],
)
def test_run_with_postprocess_computes_all_outputs(hooks: Hooks, received: Any) -> None:
    inner = FakeEngine(selects_outputs=True)
    engine = HookedEngine(inner, ONE, hooks)
    engine.run(batch(1), frozenset({"label"}))
    assert inner.output_names == [received]
    assert engine.selects_outputs is (received is not None)


@pytest.mark.parametrize("name", ["preprocess", "predict", "postprocess"])
def test_run_with_a_wrong_result_names_the_hook(name: str) -> None:
    hooks: dict[str, Any] = {name: lambda arrays: {}}
    with pytest.raises(HookError, match=f"^{name}: expected the arrays .*, received none"):
        HookedEngine(FakeEngine(), ONE, Hooks(**hooks)).run(batch(1))


def test_run_prepares_the_thread_of_the_engine() -> None:
    prepared: list[bool] = []
    inner: Any = FakeEngine()
    inner.prepare_thread = lambda: prepared.append(True)
    HookedEngine(inner, ONE, Hooks(preprocess=add_one)).prepare_thread()
    assert prepared == [True]


def test_read_only_arrays_cannot_be_written_through() -> None:
    original = np.zeros(2)
    [view] = read_only({"a": original}).values()
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    original[0] = 1  # the original stays writable


Change = Callable[[dict[str, Any]], Any]


def without(name: str) -> Change:
    return lambda arrays: {key: value for key, value in arrays.items() if key != name}


def with_array(name: str, value: Any) -> Change:
    return lambda arrays: {**arrays, name: value}


def mixed_inputs() -> dict[str, Array]:
    return {
        "size": np.array([1.5, np.nan], np.float32),
        "count": np.array([1, 2], np.int64),
        "flag": np.array([True, False]),
        "colour": np.array(["red", "blue"], object),
        "city": np.array(["", "Rome"], object),
    }


def test_validate_hook_inputs_accepts_what_a_client_may_send() -> None:
    inputs = mixed_inputs()
    checked = validate_hook_inputs(MIXED, dict(reversed(inputs.items())), 2, "preprocess")
    assert list(checked.arrays) == list(inputs)
    assert all(checked.arrays[name] is array for name, array in inputs.items())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda arrays: None,
            "expected arrays by name (size, count, flag, colour, city), received a NoneType",
        ),
        (
            without("size"),
            "expected the arrays size, count, flag, colour, city, received count, flag, colour",
        ),
        (with_array("more", np.zeros(2)), "received size, count, flag, colour, city, more."),
        (with_array("size", np.zeros(2)), "'size': expected a numpy array of float32 with the shape [2], "),
        (with_array("size", np.zeros(3, np.float32)), "received one of float32 with the shape [3]."),
        (with_array("size", [1.0, 2.0]), "received a list."),
        (with_array("size", np.ma.masked_all(2, np.float32)), "received a MaskedArray."),
        (
            with_array("size", np.array([1, np.inf], np.float32)),
            "preprocess, row 1: expected a number between",
        ),
        (with_array("colour", np.array(["red", "blue"])), "'colour': expected a numpy array of object "),
        (
            with_array("colour", np.array(["red", None], object)),
            "'colour': expected texts, received a NoneType",
        ),
        (
            with_array("colour", np.array(["red", "green"], object)),
            "preprocess, row 1: expected one of 'blue', ",
        ),
    ],
    ids=[
        "none",
        "missing",
        "unexpected",
        "type",
        "rows",
        "list",
        "masked",
        "infinite",
        "fixed-width-text",
        "not-text",
        "unknown-category",
    ],
)
def test_validate_hook_inputs_rejects_other_rows(change: Change, problem: str) -> None:
    with pytest.raises(HookError) as caught:
        validate_hook_inputs(MIXED, change(mixed_inputs()), 2, "preprocess")
    assert problem in str(caught.value)
    assert str(caught.value).startswith("preprocess")


def test_validate_hook_inputs_names_the_row_of_a_matrix() -> None:
    rows = np.array([[1, 2], [3, np.nan], [np.nan, 5]], np.float32)
    with pytest.raises(HookError, match=r"^preprocess, row 2: .*feature 'a' .*null or NaN"):
        validate_hook_inputs(MATRIX, {"input-0": rows}, 3, "preprocess")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            with_array("scores", np.zeros((2, 3), np.float32)),
            "shape [2, 2], received one of float32 with the ",
        ),
        (with_array("scores", np.zeros((2, 2))), "'scores': expected a numpy array of float32 "),
        (with_array("label", np.array([b"a", "b"], object)), "'label': expected texts, received a bytes as "),
        (
            with_array("label", np.array([["a"], ["b"]], object)),
            "shape [2], received one of object with the ",
        ),
        (without("label"), "expected the arrays label, scores, received scores."),
    ],
    ids=["width", "type", "bytes", "column", "missing"],
)
def test_validate_hook_outputs_rejects_other_outputs(change: Change, problem: str) -> None:
    outputs = {"label": np.array(["a", "b"], object), "scores": np.zeros((2, 2), np.float32)}
    assert validate_hook_outputs(TEXTS, outputs, 2, "postprocess") == outputs
    with pytest.raises(HookError) as caught:
        validate_hook_outputs(TEXTS, change(outputs), 2, "postprocess")
    assert problem in str(caught.value)

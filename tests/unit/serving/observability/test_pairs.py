# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest

from tests.support.contracts import MATRIX, contract, several_targets
from tidegate.batch import Batch
from tidegate.contract import Contract, DecisionThreshold, Output
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.observability.pairs import MAX_SAMPLES, PairRecorder, Sample
from tidegate_serving.observability.sampling import MAX_REQUEST_ROWS

ANY_BATCH: Any = None
FEATURE = {"name": "a", "datatype": "FP32"}
RESTRICTED = contract([FEATURE, {"name": "b", "datatype": "FP32", "sensitivity": "restricted"}])


def result(**outputs: Any) -> ResultSlice:
    arrays = {name: np.asarray(values) for name, values in outputs.items()}
    rows = len(next(iter(arrays.values())))
    batch: Batch = ANY_BATCH
    return ResultSlice(BatchResult(batch, arrays), 0, rows)


def classified(*labels: Any, probabilities: Any = None) -> ResultSlice:
    if probabilities is None:
        probabilities = [[0.25, 0.75]] * len(labels)
    return result(label=labels, probabilities=np.array(probabilities, np.float32))


def sampled(
    results: ResultSlice,
    request_id: str | None = "r-1",
    model: Contract = MATRIX,
    outputs: tuple[Output, ...] | None = None,
) -> list[Sample]:
    recorder = PairRecorder(model, 1)
    recorder.record(request_id, outputs or model.outputs, results)
    return recorder.read(0)


def test_equal_predictions_of_two_servers_have_equal_samples() -> None:
    stable, canary = (sampled(classified(0, 1)) for _ in range(2))
    assert stable == canary
    assert [(label, score) for _, _, label, score in stable] == [(0, 0.75), (1, 0.75)]
    keys = {key for key, *_ in stable}
    assert len(keys) == 2
    assert {len(text) for key, digest, *_ in stable for text in (key, digest)} == {16}


def test_other_predictions_have_the_key_and_another_digest() -> None:
    [stable], [canary] = sampled(classified(0)), sampled(classified(1))
    assert stable[0] == canary[0]
    assert stable[1] != canary[1]


def test_digest_of_a_label_differs_between_requests() -> None:
    digests = {sampled(classified(0, 0), request_id)[row][1] for request_id in "ab" for row in (0, 1)}
    assert len(digests) == 4


@pytest.mark.parametrize("request_id", [None, ""])
def test_request_without_id_is_not_sampled(request_id: str | None) -> None:
    assert sampled(classified(0), request_id) == []


def test_rate_samples_the_same_requests_on_every_server() -> None:
    keys = []
    for rate in (0.2, 0.2, 0.5, 0):
        recorder = PairRecorder(MATRIX, rate)
        for number in range(400):
            recorder.record(f"r-{number}", MATRIX.outputs, classified(0))
        keys.append({key for key, *_ in recorder.read(0)})
    assert keys[0] == keys[1]
    assert keys[0] < keys[2]
    assert 50 < len(keys[0]) < 110
    assert keys[3] == set()


def test_digest_covers_the_selected_outputs_only() -> None:
    label, probabilities = MATRIX.outputs
    first = classified(0, probabilities=[[0.25, 0.75]])
    second = classified(0, probabilities=[[0.5, 0.5]])
    for outputs, equal in (((label,), True), ((probabilities,), False)):
        digests = {sampled(each, outputs=outputs)[0][1] for each in (first, second)}
        assert (len(digests) == 1) is equal


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (0.3, np.nextafter(np.float32(0.3), np.float32(1)), True),
        (0.0, -0.0, True),
        (0.3, 0.3003, False),
        (1e300, 1e301, True),  # both are infinite in FP32
    ],
)
def test_digest_covers_twelve_significant_bits(first: float, second: float, equal: bool) -> None:
    digests = {
        sampled(result(label=[[value, 1.0]]), model=several_targets("FP64"))[0][1]
        for value in (first, second)
    }
    assert (len(digests) == 1) is equal


def test_digest_of_texts_has_their_boundaries() -> None:
    model = several_targets("BYTES")
    rows: list[list[str]] = [["ab", "c"], ["a", "bc"]]
    digests = {sampled(result(label=np.array([row], object)), model=model)[0][1] for row in rows}
    assert len(digests) == 2


def test_several_targets_have_neither_label_nor_score() -> None:
    [(_, _, label, score)] = sampled(result(label=[[1, 2]]), model=several_targets("INT64"))
    assert (label, score) == (None, None)


REGRESSION = MATRIX.model_copy(
    update={
        "task": "regression",
        "labels": (),
        "outputs": (Output(name="prediction", datatype="FP64"),),  # type: ignore[arg-type]
    }
)
OUTLIERS = MATRIX.model_copy(
    update={
        "task": "outlier_detection",
        "labels": (-1, 1),
        "outputs": (
            Output(name="label", datatype="INT64"),  # type: ignore[arg-type]
            Output(name="score", datatype="FP32"),  # type: ignore[arg-type]
        ),
    }
)
THREE_LABELS = MATRIX.model_copy(
    update={
        "labels": (0, 1, 2),
        "outputs": (
            MATRIX.outputs[0],
            Output(name="probabilities", datatype="FP32", width=3, labels=(0, 1, 2)),  # type: ignore[arg-type]
        ),
    }
)


@pytest.mark.parametrize(
    ("model", "outputs", "expected"),
    [
        (REGRESSION, result(prediction=[2.5]), (None, 2.5)),
        (OUTLIERS, result(label=[-1], score=[-0.5]), (-1, -0.5)),
        (THREE_LABELS, classified(1, probabilities=[[0.25, 0.5, 0.25]]), (1, 0.5)),
        (
            MATRIX.model_copy(update={"threshold": DecisionThreshold(positive_label=0, value=0.3)}),
            classified(1),
            (1, 0.25),
        ),
        (MATRIX, result(probabilities=[[0.25, 0.75]]), (None, 0.75)),
    ],
    ids=["regression", "outliers", "three-labels", "threshold", "label-not-computed"],
)
def test_label_and_score_follow_the_task(
    model: Contract, outputs: ResultSlice, expected: tuple[object, object]
) -> None:
    names = outputs.result.outputs
    selected = tuple(output for output in model.outputs if output.name in names)
    [(_, _, *values)] = sampled(outputs, model=model, outputs=selected)
    assert tuple(values) == expected


def test_score_that_was_not_computed_is_none() -> None:
    [(_, _, label, score)] = sampled(result(label=[1]), outputs=MATRIX.outputs[:1])
    assert (label, score) == (1, None)


def test_restricted_feature_leaves_only_digests() -> None:
    first, second = sampled(classified(0, 1), model=RESTRICTED), sampled(classified(0, 0), model=RESTRICTED)
    labels: list[Any] = [label for *_, label, _ in first]
    assert all(isinstance(label, str) and len(label) == 16 for label in labels)
    assert {score for *_, score in first} == {None}
    assert first[0] == second[0]
    assert first[1][0] == second[1][0]
    assert first[1][2] != second[1][2]


def test_key_of_the_release_is_needed_to_try_labels() -> None:
    samples = []
    for key in (None, "a", "a", "b"):
        recorder = PairRecorder(RESTRICTED, 1, key=key)
        recorder.record("r-1", RESTRICTED.outputs, classified(1))
        samples += recorder.read(0)
    assert samples[1] == samples[2]
    assert len({sample[:3] for sample in samples}) == 3
    assert all(len({sample[position] for sample in samples}) == 3 for position in range(3))


def test_rows_and_samples_are_bounded() -> None:
    recorder = PairRecorder(MATRIX, 1, capacity=MAX_REQUEST_ROWS + 1)
    recorder.record("r-1", MATRIX.outputs, classified(*[0] * (MAX_REQUEST_ROWS + 1)))
    assert recorder.next == len(recorder.read(0)) == MAX_REQUEST_ROWS
    recorder.record("r-2", MATRIX.outputs, classified(0, 1))
    assert recorder.next == MAX_REQUEST_ROWS + 2
    assert len(recorder.read(0)) == MAX_REQUEST_ROWS + 1 < MAX_SAMPLES
    assert [label for _, _, label, _ in recorder.read(MAX_REQUEST_ROWS)] == [0, 1]
    assert recorder.read(recorder.next) == recorder.read(10**18) == []


def test_each_process_has_its_own_epoch() -> None:
    assert PairRecorder(MATRIX, 1).epoch != PairRecorder(MATRIX, 1).epoch

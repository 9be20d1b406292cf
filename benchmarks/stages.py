# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Stages: the CPU time that one request takes in the server's codecs and engine, stage by stage.

They are measured in this process, without sockets, on the functions that the server calls. The rest of a
response's CPU time is the server's: sockets, HTTP, queue and metrics.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmarks.case import Protocol
from benchmarks.models import Model
from benchmarks.requests import build_request
from tidegate.contract import Contract
from tidegate.trust.policy import Policy
from tidegate_serving._kserve import pb
from tidegate_serving.codecs import v1, v2
from tidegate_serving.codecs.inputs import validate_inputs
from tidegate_serving.codecs.request import InferenceRequest, Limits
from tidegate_serving.config import EngineChoice
from tidegate_serving.engines.result import BatchResult, ResultSlice
from tidegate_serving.grpc import codec as grpc
from tidegate_serving.loading.loader import LoadedModel, load

STAGES = ("parse", "validate", "compute", "encode")

_REPETITIONS = 5
_SECONDS = 0.1
"""Time of a repetition."""

Run = Callable[[], object]


@dataclass(frozen=True, slots=True, order=True)
class StageCase:
    """The kind of request whose stages are measured.

    Args:
        model: One of ``models.NAMES``.
        protocol: V1 or V2 in JSON, or gRPC.
        rows: Rows per request.
        connections: The connections of the case whose response is divided.
        requests: Requests per batch, about as many as these connections bring.
    """

    model: str
    protocol: Protocol
    rows: int
    connections: int
    requests: int


CASES = (
    *(
        StageCase(model, protocol, 1, 64, 16)
        for model in ("lr", "mixed")
        for protocol in (Protocol.V1, Protocol.V2)
    ),
    StageCase("lr", Protocol.V2, 1000, 16, 1),
    StageCase("lr", Protocol.GRPC, 1, 64, 64),
    StageCase("lr", Protocol.GRPC, 256, 16, 16),
)


def measure(
    models: Mapping[str, Model], clock: Callable[[], float] = time.thread_time
) -> list[dict[str, Any]]:
    """Measure the stages of each case whose model is given.

    Args:
        models: Models by name.
        clock: CPU seconds of this thread.

    Returns:
        By case, its values and the CPU microseconds per request of each stage.
    """
    rows = []
    for case in CASES:
        if case.model in models:
            loaded = load(models[case.model].bundle.path, None, Policy(), EngineChoice.ONNX)
            runs = _stages(loaded, case)
            costs = {stage: 1e6 * _cpu_seconds(run, clock) / case.requests for stage, run in runs.items()}
            rows.append(asdict(case) | {"us": costs})
    return rows


def _stages(model: LoadedModel, case: StageCase) -> dict[str, Run]:
    """Return a function per stage, which computes it for all requests of a batch."""
    contract, limits = model.contract, Limits()
    body = build_request(contract, case.protocol, case.rows).body
    encoder = v2.ResponseEncoder(model.bundle.manifest.name, model.version, contract.outputs)
    parse: Callable[[], InferenceRequest]
    encode: Callable[[InferenceRequest, ResultSlice], object]
    if case.protocol is Protocol.V1:
        parse, encode = partial(v1.parse_body, contract, body, limits), _encode_v1
    elif case.protocol is Protocol.GRPC:
        messages = grpc.ResponseEncoder(model.bundle.manifest.name, model.version, contract.outputs)
        parse, encode = partial(_parse_message, contract, body, limits), partial(_encode_message, messages)
    else:
        parse, encode = partial(v2.parse, contract, body, None, limits), encoder.encode
    requests = [parse() for _ in range(case.requests)]
    inputs = [request.inputs for request in requests]
    batch = validate_inputs(contract, inputs)
    outputs = model.engine.run(batch)

    def encode_all() -> None:
        result = BatchResult(batch, outputs)
        for index, request in enumerate(requests):
            encode(request, ResultSlice(result, index * case.rows, (index + 1) * case.rows))

    def parse_all() -> None:
        for _ in requests:
            parse()

    runs = (parse_all, lambda: validate_inputs(contract, inputs), lambda: model.engine.run(batch), encode_all)
    return dict(zip(STAGES, runs, strict=True))


def _encode_v1(request: InferenceRequest, result: ResultSlice) -> object:
    return v1.encode(request.outputs, result)


def _parse_message(contract: Contract, body: bytes, limits: Limits) -> InferenceRequest:
    return grpc.parse_infer_request(contract, grpc.parse_message(pb.ModelInferRequest, body), limits)


def _encode_message(encoder: grpc.ResponseEncoder, request: InferenceRequest, result: ResultSlice) -> object:
    return encoder.encode(request, result, as_raw=True)


def _cpu_seconds(run: Run, clock: Callable[[], float]) -> float:
    """Return the CPU seconds of one call: the least mean of several repetitions."""
    calls = 1
    means: list[float] = []
    while len(means) < _REPETITIONS:
        started_at = clock()
        for _ in range(calls):
            run()
        seconds = clock() - started_at
        if seconds < _SECONDS:
            calls *= 2  # also the warm-up
        else:
            means.append(seconds / calls)
    return min(means)


def divide(stages: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add the rest of the server's CPU time per response to the stages of each case.

    Args:
        stages: The result of :func:`measure`.
        rows: The rows of a benchmark's result.

    Returns:
        Each case with its microseconds, and the server's in total; None where it was not measured.
    """
    per_cpu_second = {
        (row["model"], row["protocol"], row["rows"], row["connections"]): row["median"].get(
            "responses_per_cpu_s"
        )
        for row in rows
        if row["server"] == "tidegate"
    }
    divided = []
    for stage in stages:
        rate = per_cpu_second.get((stage["model"], stage["protocol"], stage["rows"], stage["connections"]))
        total = 1e6 / rate if rate else None
        rest = None if total is None else total - sum(stage["us"].values())
        divided.append({**stage, "total": total, "rest": rest})
    return divided

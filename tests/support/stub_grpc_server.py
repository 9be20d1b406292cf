# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A gRPC server of the stub's model, with KServe's generated messages."""

import struct
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.support.stub_server import FEATURES, predict

_MAX_CALLS = 8


class StubGrpcServer:
    """A running server: its address, and the metadata of the calls that it received."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.calls: Counter[str] = Counter()
        """Number of calls by method."""
        self.metadata: set[tuple[str, str]] = set()
        self.peers: set[str] = set()
        """The clients' addresses of inference calls, one per connection."""


@contextmanager
def run_stub_grpc_server(*, ready: bool = True, fail_every: int = 0) -> Iterator[StubGrpcServer]:
    """Serve on a free port while the block runs.

    Args:
        ready: Whether the model is ready.
        fail_every: The distance between two calls that end with RESOURCE_EXHAUSTED; 0 for none.
    """

    lock = threading.Lock()

    def is_ready(request: Any, context: grpc.ServicerContext) -> Any:
        record("ModelReady", context)
        return pb.ModelReadyResponse(ready=ready and request.name == "stub")

    def infer(request: Any, context: grpc.ServicerContext) -> Any:
        number = record("ModelInfer", context)
        stub.peers.add(context.peer())
        if fail_every and number % fail_every == 0:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
        raw = request.raw_input_contents[0]
        values = struct.unpack(f"<{len(raw) // 4}f", raw)
        width = len(FEATURES)
        predictions = [predict(values[index : index + width]) for index in range(0, len(values), width)]
        rows = len(predictions)
        response = pb.ModelInferResponse(model_name="stub")
        response.outputs.add(name="label", datatype="INT64", shape=[rows])
        response.outputs.add(name="probabilities", datatype="FP32", shape=[rows, 2])
        labels = struct.pack(f"<{rows}q", *(label for label, _ in predictions))
        probabilities = struct.pack(f"<{2 * rows}f", *(value for _, pair in predictions for value in pair))
        response.raw_output_contents.extend([labels, probabilities])
        return response

    def record(method: str, context: grpc.ServicerContext) -> int:
        """Record a call; return its number, from 1."""
        with lock:
            stub.calls[method] += 1
            stub.metadata.update((str(key), str(value)) for key, value in context.invocation_metadata())
            return stub.calls[method]

    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            function, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )
        for name, function, request, response in (
            ("ModelReady", is_ready, pb.ModelReadyRequest, pb.ModelReadyResponse),
            ("ModelInfer", infer, pb.ModelInferRequest, pb.ModelInferResponse),
        )
    }
    server = grpc.server(ThreadPoolExecutor(_MAX_CALLS))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers)]
    )
    stub = StubGrpcServer(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    try:
        yield stub
    finally:
        server.stop(0).wait()

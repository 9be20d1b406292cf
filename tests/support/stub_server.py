# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A stub server for V1 and V2 requests of one contract, whose responses can be faulty on purpose.

It has its own reading and writing of the protocol, so that it also tests the one in :mod:`tidegate.protocol`.
"""

import json
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from tidegate.bundle import BASELINE, CONTRACT, METRICS, MODEL_CARD, PARITY, SKOPS, seal
from tidegate.contract import Contract, Datatype, Feature, Golden, Output
from tidegate.digest import canonical_json

FEATURES = ("width", "height", "depth")

Fault = Literal["status", "bytes", "cut", "label"]
"""A faulty response: status 500; 503 without text; a connection closed within the body; a wrong label."""


def predict(row: Sequence[float]) -> tuple[int, list[float]]:
    """Return the label and the probabilities of a row: the stub's model."""
    probability = min(1.0, max(0.0, row[0] / 10))
    return int(probability > 0.5), [1 - probability, probability]


def make_contract(name: str = "stub") -> Contract:
    """Make the contract of the stub's model."""
    rows = tuple((float(value), 1.0, 2.0) for value in range(0, 10, 3))
    predictions = [predict(row) for row in rows]
    return Contract(
        name=name,
        task="classification",
        layout="matrix",
        features=[Feature(name=name, datatype=Datatype.FP32, minimum=0.0, maximum=10.0) for name in FEATURES],
        outputs=[
            Output(name="label", datatype=Datatype.INT64),
            Output(name="probabilities", datatype=Datatype.FP32, width=2),
        ],
        labels=[0, 1],
        golden=Golden(
            rows=rows,
            outputs={
                "label": [label for label, _ in predictions],
                "probabilities": [probabilities for _, probabilities in predictions],
            },
            tolerance=1e-5,
        ),
    )


def write_bundle(path: Path, name: str = "stub") -> None:
    """Write a bundle with the stub's contract and without a model."""
    path.mkdir()
    (path / CONTRACT).write_bytes(canonical_json(make_contract(name).model_dump(mode="json")))
    for file in (SKOPS, PARITY, BASELINE, METRICS, MODEL_CARD):
        (path / file).write_bytes(b"{}")
    seal(
        path,
        name=name,
        task="classification",
        algorithm="Stub",
        parameters={},
        seed=1,
        data={"sha256": "0" * 64, "rows": 9},
        versions={},
    )


class StubServer:
    """A running stub server: its URL, and the requests and rows that it received, by protocol."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()


@contextmanager
def run_stub_server(fault: Callable[[int], Fault | None] = lambda number: None) -> Iterator[StubServer]:
    """Serve on a free port while the block runs.

    Args:
        fault: Returns the fault of an inference request by its number, from 0; None for a correct response.
    """
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._respond(200 if self.path == "/v2/models/stub/ready" else 404, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                kind = fault(stub.requests.total())
                protocol, rows = self._parse(body)
                stub.requests[protocol] += 1
                stub.rows[protocol] += len(rows)
            if kind == "status":
                return self._respond(500, b'{"error": "out of order"}')
            if kind == "bytes":
                return self._respond(503, b"\xff\xfe")
            if kind == "cut":
                self.close_connection = True
                return self._respond(200, b'{"pred', {"Content-Length": "100"})
            predictions = [predict(row) for row in rows]
            labels = [label + (kind == "label") for label, _ in predictions]
            probabilities = [value for _, pair in predictions for value in pair]
            if protocol == "v1":
                return self._respond(200, json.dumps({"predictions": labels}).encode())
            outputs = [
                {"name": "label", "datatype": "INT64", "shape": [len(rows)]},
                {"name": "probabilities", "datatype": "FP32", "shape": [len(rows), 2]},
            ]
            if protocol == "v2":
                outputs[0]["data"], outputs[1]["data"] = labels, probabilities
                return self._respond(200, json.dumps({"outputs": outputs}).encode())
            raw = struct.pack(f"<{len(labels)}q", *labels)
            raw += struct.pack(f"<{len(probabilities)}f", *probabilities)
            outputs[0]["parameters"] = {"binary_data_size": 8 * len(labels)}
            outputs[1]["parameters"] = {"binary_data_size": 4 * len(probabilities)}
            header = json.dumps({"outputs": outputs}).encode()
            return self._respond(200, header + raw, {"Inference-Header-Content-Length": str(len(header))})

        def _parse(self, body: bytes) -> tuple[str, list[list[float]]]:
            if self.path == "/v1/models/stub:predict":
                return "v1", json.loads(body)["instances"]
            assert self.path == "/v2/models/stub/infer"
            header_length = self.headers["Inference-Header-Content-Length"]
            if header_length is None:
                values = json.loads(body)["inputs"][0]["data"]
            else:
                raw = body[int(header_length) :]
                values = list(struct.unpack(f"<{len(raw) // 4}f", raw))
            rows = [values[index : index + 3] for index in range(0, len(values), 3)]
            return "v2" if header_length is None else "v2-binary", rows

        def _respond(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    stub = StubServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

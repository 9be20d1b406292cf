# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A server that answers V1 and V2 for a contract, from a rule simple enough to be wrong on purpose."""

import json
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tidegate.contract import Contract, Datatype, Feature, Golden, Output

NAMES = ("width", "height", "depth")


def answer(row: Sequence[float]) -> tuple[int, list[float]]:
    """The stub's model: label and probabilities of a row."""
    share = min(1.0, max(0.0, row[0] / 10))
    return int(share > 0.5), [1 - share, share]


def make_contract(name: str = "stub") -> Contract:
    rows = tuple((float(value), 1.0, 2.0) for value in range(0, 10, 3))
    answers = [answer(row) for row in rows]
    return Contract(
        name=name,
        task="classification",
        features=[Feature(name=name, datatype=Datatype.FP32, minimum=0.0, maximum=10.0) for name in NAMES],
        outputs=[
            Output(name="label", datatype=Datatype.INT64),
            Output(name="probabilities", datatype=Datatype.FP32, width=2),
        ],
        labels=[0, 1],
        golden=Golden(
            rows=rows,
            outputs={"label": [label for label, _ in answers], "probabilities": [p for _, p in answers]},
            tolerance=1e-5,
        ),
    )


class Stub:
    """A running server: its address, and what it saw by protocol."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()


@contextmanager
def serving(spoil: Callable[[int], str | None] = lambda number: None) -> Iterator[Stub]:
    """Serve on a free port.

    Args:
        spoil: From the number of an inference request (from 0), what to do wrong: "status" (500), "bytes"
            (503 and no text), "cut" (connection closed within the answer), "label" (another answer) or None.
    """
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._reply(200 if self.path == "/v2/models/stub/ready" else 404, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                wrong = spoil(sum(stub.seen.values()))
                protocol, rows = self._read(body)
                stub.seen[protocol] += 1
                stub.rows[protocol] += len(rows)
            if wrong == "status":
                return self._reply(500, b'{"error": "out of order"}')
            if wrong == "bytes":
                return self._reply(503, b"\xff\xfe")
            if wrong == "cut":
                self.close_connection = True
                return self._reply(200, b'{"pred', {"Content-Length": "100"})
            answers = [answer(row) for row in rows]
            labels = [label + (wrong == "label") for label, _ in answers]
            shares = [share for _, pair in answers for share in pair]
            if protocol == "v1":
                return self._reply(200, json.dumps({"predictions": labels}).encode())
            outputs = [
                {"name": "label", "datatype": "INT64", "shape": [len(rows)]},
                {"name": "probabilities", "datatype": "FP32", "shape": [len(rows), 2]},
            ]
            if protocol == "v2":
                outputs[0]["data"], outputs[1]["data"] = labels, shares
                return self._reply(200, json.dumps({"outputs": outputs}).encode())
            raw = struct.pack(f"<{len(labels)}q", *labels) + struct.pack(f"<{len(shares)}f", *shares)
            outputs[0]["parameters"] = {"binary_data_size": 8 * len(labels)}
            outputs[1]["parameters"] = {"binary_data_size": 4 * len(shares)}
            header = json.dumps({"outputs": outputs}).encode()
            return self._reply(200, header + raw, {"Inference-Header-Content-Length": str(len(header))})

        def _read(self, body: bytes) -> tuple[str, list[list[float]]]:
            if self.path == "/v1/models/stub:predict":
                return "v1", json.loads(body)["instances"]
            assert self.path == "/v2/models/stub/infer"
            length = self.headers["Inference-Header-Content-Length"]
            if length is None:
                values = json.loads(body)["inputs"][0]["data"]
            else:
                raw = body[int(length) :]
                values = list(struct.unpack(f"<{len(raw) // 4}f", raw))
            rows = [values[index : index + 3] for index in range(0, len(values), 3)]
            return "v2" if length is None else "v2-binary", rows

        def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
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
    stub = Stub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

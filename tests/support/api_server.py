# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A fake Kubernetes API server: lists and watches over HTTP, with faults on purpose.

It keeps every change with its resource version, as the real server's watch cache does.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import ApiClient, Configuration

Object = dict[str, Any]


@dataclass
class Fault:
    """A fault of the responses to one resource."""

    status: int = 0
    """Status of every watch; 0 serves them."""
    cut_after: int | None = None
    """Number of lines after which the connection breaks without the end of the response."""
    end_after: int | None = None
    """Number of lines after which the response ends cleanly."""
    lines: tuple[bytes, ...] = ()
    """Lines that replace the events of a watch."""
    lists_too: bool = False
    """Whether the status holds for lists as well."""
    skip: int = 0
    """Number of watches before the first that has the fault; a streamed list is one."""
    times: int = 1_000_000
    """Number of watches that have the fault."""


@dataclass
class FakeApiServer:
    """The objects and the log of changes; ``url`` is the server's address."""

    url: str = ""
    streams_lists: bool = True
    bookmarks: bool = True
    faults: dict[str, Fault] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Group, resource and parameters of each request."""
    closing: bool = False

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        self.version = 1
        self.oldest = 0
        self.objects: dict[str, dict[str, Object]] = {}
        self.log: list[tuple[int, str, str, Object]] = []

    def put(self, resource: str, item: Object) -> None:
        """Create or change an object."""
        with self.changed:
            self.version += 1
            name = item["metadata"]["name"]
            kind = "MODIFIED" if name in self.objects.setdefault(resource, {}) else "ADDED"
            stored = item | {"metadata": item["metadata"] | {"resourceVersion": str(self.version)}}
            self.objects[resource][name] = stored
            self.log.append((self.version, resource, kind, stored))
            self.changed.notify_all()

    def delete(self, resource: str, name: str) -> None:
        """Delete an object."""
        with self.changed:
            self.version += 1
            stored = self.objects[resource].pop(name)
            stored = stored | {"metadata": stored["metadata"] | {"resourceVersion": str(self.version)}}
            self.log.append((self.version, resource, "DELETED", stored))
            self.changed.notify_all()

    def compact(self) -> None:
        """Forget the changes until now, so that watches from older versions get 410."""
        with self.changed:
            self.oldest = self.version

    def listing(self, resource: str, name: str | None) -> Object:
        with self.changed:
            items = [i for n, i in self.objects.get(resource, {}).items() if name in (None, n)]
            return {"kind": "List", "metadata": {"resourceVersion": str(self.version)}, "items": items}

    def client(self) -> ApiClient:
        """Return a client of this server."""
        configuration = Configuration()
        configuration.host = self.url
        configuration.retries = False
        return ApiClient(configuration)


def status_document(code: int) -> Object:
    return {"kind": "Status", "code": code, "message": f"status {code}", "metadata": {}}


@contextmanager
def run_api_server(server: FakeApiServer | None = None) -> Iterator[FakeApiServer]:
    """Serve on a free port while the block runs."""
    state = server or FakeApiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            parts = url.path.strip("/").split("/")
            resource, group = parts[-1], parts[1] if parts[0] == "apis" else ""
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            with state.changed:
                state.requests.append((group, resource, query))
                fault = state.faults.get(resource, Fault(times=0))
                active = fault.times > 0
                watch = query.get("watch") == "true"
                if active and (watch or fault.lists_too):
                    active = fault.skip == 0
                    fault.skip, fault.times = max(fault.skip - 1, 0), fault.times - active
            name = query.get("fieldSelector", "").removeprefix("metadata.name=") or None
            if active and fault.status and (watch or fault.lists_too):
                return self._document(fault.status, status_document(fault.status))
            if not watch:
                return self._document(200, state.listing(resource, name))
            if "sendInitialEvents" in query and not state.streams_lists:
                return self._document(422, status_document(422))
            version = int(query.get("resourceVersion", "0"))
            if version and version < state.oldest:
                return self._document(410, status_document(410))
            return self._stream(resource, name, query, fault if active else Fault())

        def _document(self, status: int, document: Object) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, resource: str, name: str | None, query: dict[str, str], fault: Fault) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")  # also ends it on this side
            self.end_headers()
            try:
                for number, line in enumerate(self._lines(resource, name, query, fault)):
                    if number == fault.cut_after:
                        return
                    if number == fault.end_after:
                        break
                    self.wfile.write(f"{len(line) + 1:x}\r\n".encode() + line + b"\n\r\n")
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                pass  # the client has disconnected

        def _lines(
            self, resource: str, name: str | None, query: dict[str, str], fault: Fault
        ) -> Iterator[bytes]:
            if fault.lines:
                yield from fault.lines
                return
            version = int(query.get("resourceVersion", "0"))
            if "sendInitialEvents" in query:
                listing = state.listing(resource, name)
                version = int(listing["metadata"]["resourceVersion"])
                for item in listing["items"]:
                    yield encode("ADDED", item)
                if state.bookmarks:
                    yield bookmark(version, {"k8s.io/initial-events-end": "true"})
            while not state.closing:
                with state.changed:
                    events = [
                        (number, kind, item)
                        for number, of, kind, item in state.log
                        if number > version and of == resource and name in (None, item["metadata"]["name"])
                    ]
                    if not events:
                        state.changed.wait(0.05)
                for number, kind, item in events:
                    version = number
                    yield encode(kind, item)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}"
        try:
            yield state
        finally:
            state.closing = True
            http.shutdown()
            thread.join()


def encode(kind: str, item: Object) -> bytes:
    """Return the line of an event."""
    return json.dumps({"type": kind, "object": item}).encode()


def bookmark(version: int, annotations: dict[str, str] | None = None) -> bytes:
    """Return the line of a bookmark."""
    return encode("BOOKMARK", {"metadata": {"resourceVersion": str(version), "annotations": annotations}})


def wait_for(condition: threading.Condition, predicate: Callable[[], bool]) -> None:
    """Wait until a predicate is true under a condition."""
    with condition:
        assert condition.wait_for(predicate, 10), "the expected state did not come within 10 s"

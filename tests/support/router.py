# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A router of connections on this machine, as a Service of Kubernetes is one."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def routing(target: str) -> Iterator["Router"]:
    """Run a router during a block."""
    with Router(target) as router:
        threading.Thread(target=router.serve_forever, daemon=True).start()
        yield router
        router.shutdown()


class Router(socketserver.ThreadingTCPServer):
    """Forwards each new connection to its target, as a Service does, and counts connections."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        self.target = target
        self.connections = 0
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        host, port = self.target.split(":")
        with socket.create_connection((host, int(port))) as server:
            back = threading.Thread(target=_copy, args=(server, request), daemon=True)
            back.start()
            _copy(request, server)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The metrics of a rollout in progress, in Prometheus' text format, and the HTTP server that it scrapes.

All metrics follow from the state, so a process that continues a rollout also continues its counters. They end
with the process. The result stays in the Lease, in the Events and in the exit code.
"""

import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tidegate.errors import ConfigurationError
from tidegate_rollout.state import RolloutState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OUTCOMES = ("done", "pass", "fail", "insufficient", "aborted", "skipped")
"""The outcomes of a step. Each has a series from the start, so that ``increase()`` sees the first step."""

METRICS = {
    "tidegate_rollout_info": ("gauge", "The rollout in progress."),
    "tidegate_rollout_step_start_time_seconds": ("gauge", "The start of the present step, since 1970."),
    "tidegate_rollout_steps_total": ("counter", "The steps that have ended, by outcome."),
    "tidegate_rollout_evidence_ratio": ("gauge", "The evidence of a check, divided by that which decides."),
}
"""The type and the description of each metric."""

Samples = Sequence[tuple[Mapping[str, str], float]]


def render_metrics(release: str, state: RolloutState) -> str:
    """Return the page for Prometheus."""
    ended = Counter(record.outcome for record in state.records)
    progress = state.evidence.history[-1].progress if state.evidence.history else {}
    samples: list[Samples] = [
        [({"digest": state.digest, "course": state.course}, 1)],
        [({"step": state.step}, state.step_started_at)],
        [({"outcome": outcome}, ended[outcome]) for outcome in OUTCOMES],
        [
            ({"check": check, "outcome": outcome}, ratio)
            for check, ratios in progress.items()
            for outcome, ratio in zip(("fail", "pass"), ratios, strict=True)
        ],
    ]
    return "".join(
        line for name, values in zip(METRICS, samples, strict=True) for line in _lines(name, release, values)
    )


def _lines(name: str, release: str, samples: Samples) -> Iterator[str]:
    kind, text = METRICS[name]
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        pairs = ",".join(f'{key}="{label}"' for key, label in {"release": release, **labels}.items())
        yield f"{name}{{{pairs}}} {value}\n"


class MetricsServer(ThreadingHTTPServer):
    """Serves the last page at ``/metrics`` from a thread of its own until the process ends.

    Args:
        release: The label ``release`` of each metric, as the servers' metrics have it.
        port: The port on all interfaces; 0 selects a free one.

    Raises:
        ConfigurationError: If the port is in use or not allowed.
    """

    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def __init__(self, release: str, port: int) -> None:
        try:
            super().__init__(("", port), _Handler)
        except OSError as error:
            raise ConfigurationError(
                f"--metrics-port {port} cannot be opened: {error.strerror}. Select another port."
            ) from None
        self._release = release
        self.page = b""
        Thread(target=self.serve_forever, daemon=True).start()

    def server_bind(self) -> None:
        """Bind the port for IPv6 and IPv4, because a cluster has either."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def show(self, state: RolloutState) -> None:
        """Replace the page by that of a state."""
        self.page = render_metrics(self._release, state).encode()


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer

    def do_GET(self) -> None:
        """Respond with the page, or with 404 to another path."""
        if self.path != "/metrics":
            self.send_error(404)
            return
        page = self.server.page
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *arguments: object) -> None:
        """Write nothing: the console has the progress of the rollout."""

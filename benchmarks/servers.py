# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Servers: how each is started and configured, as its own documentation says.

This module decides fairness: one process on one core, no log line per request, the same pipeline. Each
server's options for speed under load are on, and its description names them.
"""

import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import environments
from benchmarks.case import Protocol
from benchmarks.environments import PEERS
from benchmarks.models import Model
from benchmarks.tools import Tools

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Launch:
    """Model, ports, folder and tools for one start of a server."""

    model: Model
    port: int
    grpc_port: int
    metrics_port: int
    folder: Path
    """A temporary folder for the server's files."""
    tools: Tools

    @property
    def model_name(self) -> str:
        """The model's name in requests."""
        return self.model.bundle.manifest.name


@dataclass(frozen=True, slots=True)
class Command:
    """Command line, environment and working directory of a server."""

    argv: list[str | Path]
    environment: Mapping[str, str]
    folder: Path


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be measured.

    Args:
        title: Name on the page.
        description: Configuration, for the page.
        peer: The peer whose lock has its versions; None for Tidegate and nginx.
        command: Builds the command line.
        ready_path: Path that returns ``expected_status`` when the server is ready; ``{name}`` is the model.
        expected_status: Status of every response; only the ceilings return another one than 200.
        predicts: Whether it returns predictions; a ceiling does not.
        may_saturate: Whether its figure is the limit of the generator.
        comparable: Whether it is an option for users; one that is not appears in a section of its own.
    """

    title: str
    description: str
    peer: str | None
    command: Callable[[Launch], Command]
    ready_path: str = "/v2/models/{name}/ready"
    expected_status: int = 200
    predicts: bool = True
    may_saturate: bool = False
    comparable: bool = True


PATHS = {
    Protocol.V1: "/v1/models/{name}:predict",
    Protocol.V2: "/v2/models/{name}/infer",
    Protocol.V2_BINARY: "/v2/models/{name}/infer",
    Protocol.GRPC: "/inference.GRPCInferenceService/ModelInfer",
    Protocol.BENTOML: "/predict",
}


def _tidegate(engine: str, *program: str | Path) -> Callable[[Launch], Command]:
    def command(launch: Launch) -> Command:
        ports = ["--http-port", str(launch.port), "--grpc-port", str(launch.grpc_port)]
        options = ["--host", HOST, "--engine", engine, "--drain-seconds", "0"]
        argv = program or (Path(sys.executable).with_name("tidegate"),)
        return Command([*argv, "serve", launch.model.bundle.path, *ports, *options], {}, launch.folder)

    return command


def _script(peer: str, environment: str | None = None) -> Callable[[Launch], Command]:
    def command(launch: Launch) -> Command:
        python = environments.ensure(environment or peer) / "python"
        return Command([python, PEERS / peer / "serve.py"], _bench_environment(launch), launch.folder)

    return command


def _bench_environment(launch: Launch) -> dict[str, str]:
    return {
        "BENCH_MODEL": str(launch.model.pickle),
        "BENCH_NAME": launch.model_name,
        "BENCH_PORT": str(launch.port),
        "BENCH_GRPC_PORT": str(launch.grpc_port),
    }


def _mlserver(batching: bool) -> Callable[[Launch], Command]:
    def command(launch: Launch) -> Command:
        settings = {
            "HOST": HOST,
            "HTTP_PORT": str(launch.port),
            "GRPC_PORT": str(launch.grpc_port),
            "METRICS_PORT": str(launch.metrics_port),
            "DEBUG": "false",
            "PARALLEL_WORKERS": "0",  # a second process would compete for the same core
            "MODEL_NAME": launch.model_name,
            "MODEL_IMPLEMENTATION": "mlserver_sklearn.SKLearnModel",
            "MODEL_URI": str(launch.model.pickle),
        }
        if batching:
            settings |= {"MODEL_MAX_BATCH_SIZE": "64", "MODEL_MAX_BATCH_TIME": "0.001"}
        environment = {f"MLSERVER_{name}": value for name, value in settings.items()}
        return Command(
            [environments.ensure("mlserver") / "mlserver", "start", launch.folder], environment, launch.folder
        )

    return command


def _bentoml(launch: Launch) -> Command:
    address = ["--host", HOST, "--port", str(launch.port)]
    bin_folder = environments.ensure("bentoml")
    environment = _bench_environment(launch) | {
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(launch.folder),
        # BentoML starts its workers by the name of the interpreter.
        "PATH": os.pathsep.join([str(bin_folder), os.environ.get("PATH", "")]),
    }
    return Command(
        [bin_folder / "bentoml", "serve", "serve:Classifier", *address], environment, PEERS / "bentoml"
    )


_NGINX = """daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{port};
        location / {{ default_type application/json; return 200 '{{"predictions":[0]}}'; }}
    }}
}}
"""


def _nginx(launch: Launch) -> Command:
    configuration = launch.folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=launch.folder, host=HOST, port=launch.port))
    return Command([launch.tools.nginx, "-p", launch.folder, "-c", configuration], {}, launch.folder)


SERVERS = {
    "tidegate": Server(
        "Tidegate",
        "`tidegate serve` with its defaults: the compiled form on ONNX Runtime",
        None,
        _tidegate("onnx"),
    ),
    "tidegate-sklearn": Server(
        "Tidegate, scikit-learn",
        "`tidegate serve --engine sklearn`: the pipeline itself",
        None,
        _tidegate("sklearn"),
    ),
    "tidegate-uncounted": Server(
        "Tidegate, uncounted",
        "the same as Tidegate, but metrics and drift count nothing",
        None,
        _tidegate("onnx", sys.executable, PEERS / "uncounted" / "serve.py"),
        comparable=False,
    ),
    "tidegate-slow": Server(
        "Tidegate, slow engine",
        "the same as Tidegate, scikit-learn, but its engine waits 4 ms per row, at most 1 s, and uses no CPU",
        None,
        _tidegate("sklearn", sys.executable, PEERS / "slow" / "serve.py"),
        comparable=False,
    ),
    "kserve": Server(
        "KServe SDK (custom model)",
        "a `kserve.Model` whose `predict` calls the pipeline, as KServe's own scikit-learn server does; one "
        "worker, uvloop, latency log off",
        "kserve",
        _script("kserve"),
    ),
    "mlserver": Server(
        "MLServer",
        "`mlserver_sklearn.SKLearnModel`, no parallel workers, debug off",
        "mlserver",
        _mlserver(batching=False),
    ),
    "mlserver-batching": Server(
        "MLServer, adaptive batching",
        "the same with `max_batch_size` 64 and `max_batch_time` 1 ms",
        "mlserver",
        _mlserver(batching=True),
    ),
    "bentoml": Server(
        "BentoML, adaptive batching",
        "a service with a batchable method, `max_batch_size` 64, one worker",
        "bentoml",
        _bentoml,
        ready_path="/readyz",
    ),
    "starlette": Server(
        "Starlette",
        "a route that parses JSON with orjson and calls the pipeline; uvicorn with uvloop and httptools; no "
        "validation, no metrics",
        "starlette",
        _script("starlette"),
        ready_path="/ready",
    ),
    "uvicorn": Server(
        "uvicorn, 404",
        "an ASGI application that returns 404 for every request and reads nothing; uvloop and httptools",
        "starlette",
        _script("uvicorn", environment="starlette"),
        ready_path="/",
        expected_status=404,
        predicts=False,
    ),
    "nginx": Server(
        "nginx, fixed response",
        "a location with a fixed response: the limit of the generator",
        None,
        _nginx,
        ready_path="/",
        predicts=False,
        may_saturate=True,
    ),
}


def free_ports() -> tuple[int, int, int]:
    """Return three free ports; all are bound at the same time, so that they differ."""
    probes = [socket.socket() for _ in range(3)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        first, second, third = (int(probe.getsockname()[1]) for probe in probes)
        return first, second, third
    finally:
        for probe in probes:
            probe.close()

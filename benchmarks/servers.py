# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The servers: how each is started and asked, as its own documentation has it.

Fairness lies here: one process on one core, no log a request, the same pipeline. What a server offers to be
faster under load is on, and each says below what that is.
"""

import os
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
class Place:
    """Where one server is to run, and with what."""

    model: Model
    port: int
    grpc_port: int
    metrics_port: int
    folder: Path
    """Its own, for what it writes; it is gone afterwards."""
    tools: Tools

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.bundle.manifest.name


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a server."""

    argv: list[str | Path]
    environment: Mapping[str, str]
    folder: Path


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be measured.

    Args:
        title: What a reader knows it as.
        about: How it is configured, for the page.
        peer: Whose lock says its versions; None for Tidegate and nginx.
        command: How it is started.
        ready: The path that answers with ``status`` once it is ready; ``{name}`` is the model.
        status: What it answers to the questions; only the ceilings answer otherwise than 200.
        answers: Whether it predicts; a ceiling does not.
        may_saturate: Whether its figure is the generator's own limit.
        offered: Whether anybody would run it; one that is not stands apart from those that are compared.
    """

    title: str
    about: str
    peer: str | None
    command: Callable[[Place], Command]
    ready: str = "/v2/models/{name}/ready"
    status: int = 200
    answers: bool = True
    may_saturate: bool = False
    offered: bool = True


PATHS = {
    Protocol.V1: "/v1/models/{name}:predict",
    Protocol.V2: "/v2/models/{name}/infer",
    Protocol.V2_BINARY: "/v2/models/{name}/infer",
    Protocol.BENTOML: "/predict",
}


def _tidegate(engine: str, *program: str | Path) -> Callable[[Place], Command]:
    def command(place: Place) -> Command:
        ports = ["--http-port", str(place.port), "--grpc-port", str(place.grpc_port)]
        options = ["--host", HOST, "--engine", engine, "--drain-seconds", "0"]
        argv = program or (Path(sys.executable).with_name("tidegate"),)
        return Command([*argv, "serve", place.model.bundle.path, *ports, *options], {}, place.folder)

    return command


def _script(peer: str, environment: str | None = None) -> Callable[[Place], Command]:
    def command(place: Place) -> Command:
        python = environments.ensure(environment or peer) / "python"
        return Command([python, PEERS / peer / "serve.py"], _told(place), place.folder)

    return command


def _told(place: Place) -> dict[str, str]:
    return {
        "BENCH_MODEL": str(place.model.pickle),
        "BENCH_NAME": place.name,
        "BENCH_PORT": str(place.port),
        "BENCH_GRPC_PORT": str(place.grpc_port),
    }


def _mlserver(batching: bool) -> Callable[[Place], Command]:
    def command(place: Place) -> Command:
        settings = {
            "HOST": HOST,
            "HTTP_PORT": str(place.port),
            "GRPC_PORT": str(place.grpc_port),
            "METRICS_PORT": str(place.metrics_port),
            "DEBUG": "false",
            "PARALLEL_WORKERS": "0",  # on one core a second process is only in the way
            "MODEL_NAME": place.name,
            "MODEL_IMPLEMENTATION": "mlserver_sklearn.SKLearnModel",
            "MODEL_URI": str(place.model.pickle),
        }
        if batching:
            settings |= {"MODEL_MAX_BATCH_SIZE": "64", "MODEL_MAX_BATCH_TIME": "0.001"}
        environment = {f"MLSERVER_{name}": value for name, value in settings.items()}
        return Command(
            [environments.ensure("mlserver") / "mlserver", "start", place.folder], environment, place.folder
        )

    return command


def _bentoml(place: Place) -> Command:
    where = ["--host", HOST, "--port", str(place.port)]
    bin_folder = environments.ensure("bentoml")
    environment = _told(place) | {
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(place.folder),
        # Its workers are started by the name of the interpreter.
        "PATH": os.pathsep.join([str(bin_folder), os.environ.get("PATH", "")]),
    }
    return Command(
        [bin_folder / "bentoml", "serve", "serve:Classifier", *where], environment, PEERS / "bentoml"
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


def _nginx(place: Place) -> Command:
    configuration = place.folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=place.folder, host=HOST, port=place.port))
    return Command([place.tools.nginx, "-p", place.folder, "-c", configuration], {}, place.folder)


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
        offered=False,
    ),
    "kserve": Server(
        "KServe, custom model",
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
        ready="/readyz",
    ),
    "starlette": Server(
        "Starlette",
        "a route that reads JSON by orjson and calls the pipeline; uvicorn with uvloop and httptools; no "
        "checks, no metrics",
        "starlette",
        _script("starlette"),
        ready="/ready",
    ),
    "uvicorn": Server(
        "uvicorn, 404",
        "an ASGI application that answers 404 to everything and reads nothing; uvloop and httptools",
        "starlette",
        _script("uvicorn", environment="starlette"),
        ready="/",
        status=404,
        answers=False,
    ),
    "nginx": Server(
        "nginx, fixed answer",
        "a location that returns a fixed answer: what the generator can reach at all",
        None,
        _nginx,
        ready="/",
        answers=False,
        may_saturate=True,
    ),
}

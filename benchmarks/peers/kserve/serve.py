# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""KServe's SDK around a scikit-learn pipeline: a custom model, in the words of its documentation.

``predict`` makes the calls of KServe's sklearn server, with its helpers for both protocols. Logs per request
are off, as for every server here.
"""

import logging
import os

import grpc.aio._server
import joblib
import pandas as pd
import uvicorn
from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response


class SklearnModel(Model):
    """A pipeline that returns its labels."""

    def __init__(self, name, path):
        super().__init__(name)
        self.path = path

    def load(self):
        """Load the pipeline."""
        self.pipeline = joblib.load(self.path)
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        """Compute the labels of a V1 or a V2 request."""
        if isinstance(payload, dict) and isinstance(payload["instances"][0], dict):
            rows = pd.DataFrame(payload["instances"])
        else:
            rows = get_predict_input(payload)
        return get_predict_response(payload, self.pipeline.predict(rows), self.name)


class LoopbackConfig(uvicorn.Config):
    """A configuration that listens on the loopback address, because KServe has no option for it."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options | {"host": "127.0.0.1"})


class LoopbackServer(grpc.aio._server.Server):
    """A gRPC server that listens on the loopback address."""

    def add_insecure_port(self, address):
        """Listen on the loopback address."""
        return super().add_insecure_port(address.replace("[::]", "127.0.0.1"))


if __name__ == "__main__":
    uvicorn.Config = LoopbackConfig
    grpc.aio._server.Server = LoopbackServer
    model = SklearnModel(os.environ["BENCH_NAME"], os.environ["BENCH_MODEL"])
    model.load()
    server = ModelServer(
        http_port=int(os.environ["BENCH_PORT"]),
        grpc_port=int(os.environ["BENCH_GRPC_PORT"]),
        workers=1,
        enable_latency_logging=False,
    )
    for logger in ("kserve.trace", "uvicorn.access"):
        logging.getLogger(logger).disabled = True
    server.start([model])
